import { type Html, html } from './html.ts';

/** A whole page: what stands in the browser's tab, and the card in the middle. */
export interface Page {
  readonly title: string;
  readonly card: Html;
  /** For what has long lines; default a narrow card. */
  readonly wide?: boolean;
}

/** Renders a page. Style comes from our own `/assets/page.css`; there is no script. */
export function renderPage(page: Page): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${page.title} · kontext</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/page.css">
</head>
<body>
<main${page.wide === true ? wideClass : null}>
<p class="brand">kontext</p>
${page.card}
</main>
</body>
</html>
`.markup;
}

const wideClass: Html = html` class="wide"`;

/** The one style sheet of the server-rendered pages; both colour schemes reach WCAG AA contrast. */
export const pageCss = `:root{--bg:#f5f6f8;--card:#fff;--ink:#16181d;--soft:#575d69;--line:#d9dce3;--accent:#1f5eff;--on-accent:#fff;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--bg:#101216;--card:#191c22;--ink:#eceef2;--soft:#a3aab8;--line:#343a46;--accent:#8ab0ff;--on-accent:#0c1220;--bad:#ff9b93}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--bg);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:27rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.9rem}
main.wide{max-width:46rem}
h2{margin:1.25rem 0 .3rem;font-size:1rem}
ul{margin:.3rem 0;padding-left:1.2rem;overflow-wrap:anywhere}
pre.call{margin:1rem 0;padding:.8rem .9rem;border:1px solid var(--soft);border-radius:.6rem;font:.95rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.choices{margin-top:1.25rem}
.choices p{display:flex;align-items:center;gap:.9rem;margin:.6rem 0}
main.wide dl{grid-template-columns:max-content 1fr}
.choices button{flex:0 0 14.5rem}
@media (max-width:34rem){main.wide dl{grid-template-columns:1fr;gap:0}main.wide dd{margin-bottom:.5rem}.choices p{flex-direction:column;align-items:stretch;gap:.3rem}.choices button{flex:none}}
.brand{margin:0 0 1.25rem;font-weight:650;letter-spacing:.02em;color:var(--soft)}
h1{margin:0 0 .5rem;font-size:1.35rem;line-height:1.3}
p{margin:.5rem 0}
.soft{color:var(--soft);font-size:.92rem}
.code{margin:1rem 0;padding:.8rem;border:1px dashed var(--line);border-radius:.6rem;text-align:center;font:600 1.7rem/1.2 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;letter-spacing:.12em}
p.deed{margin:1rem 0;padding:.8rem .9rem;border:1px solid var(--soft);border-radius:.6rem;font-weight:600;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:auto 1fr;gap:.3rem 1rem;margin:1rem 0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere;font-weight:550}
label{display:block;margin:1rem 0 .3rem;font-weight:550}
input[type=text],input[type=password]{width:100%;padding:.65rem .75rem;font:inherit;color:inherit;background:transparent;border:1px solid var(--soft);border-radius:.5rem}
input.spread{text-align:center;text-transform:uppercase;letter-spacing:.12em;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.row{display:flex;gap:.75rem;margin-top:1.25rem}
button,a.button{flex:1;padding:.7rem 1rem;font:inherit;font-weight:600;text-align:center;text-decoration:none;color:var(--ink);background:transparent;border:1px solid var(--soft);border-radius:.5rem;cursor:pointer}
button.primary,a.primary{color:var(--on-accent);background:var(--accent);border-color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.alert{margin:1rem 0;padding:.7rem .9rem;border:1px solid var(--bad);border-radius:.5rem;color:var(--bad)}
`;
