import { createHash } from 'node:crypto';
import { oneLine } from './describe-part.ts';
import type { CallPart, ToolCall } from './tool-call.ts';

const maxLength = 200;

/** Programs whose first argument says what they do; of all others it may be a name of something. */
const withSubcommands = new Set(
  `apt apt-get aws az brew bundle bun cargo composer conda dnf docker docker-compose doctl flyctl fly gcloud gem gh glab
  go gradle helm heroku hg ip jj kontext kubectl launchctl mvn npm nomad oc op pip pip3 pipenv pnpm podman poetry
  psql pulumi rails railway rustup snap stripe supabase svn systemctl terraform tofu uv vault vercel wrangler yarn yum
  git`.split(/\s+/),
);

/**
 * What kind of call it is, for counting and for approvals that last: `Bash: git push + rm`, `mcp github/create_issue`.
 *
 * Programs with their subcommands, and hosts, each once, sorted; no other argument. The same for every call of that kind,
 * different for others: what is too long to show ends in a part of its hash. Says `(opaque)` where something of the call
 * does not stand in it, so that what was approved readable is not taken for approved unreadable.
 */
export function callShape(call: ToolCall): string {
  const words = [...new Set(call.parts.flatMap(wordOf))].sort();
  const mcp = call.parts.find((part) => part.kind === 'mcp');
  const head = mcp ? `mcp ${mcp.server}/${mcp.tool}` : call.tool || '(no tool)';
  const body = words.length > 0 ? `: ${words.join(' + ')}` : '';
  return bounded(`${head}${body}${call.opaque.length > 0 ? ' (opaque)' : ''}`);
}

function wordOf(part: CallPart): readonly string[] {
  if (part.kind === 'host') return [quoted(part.name)];
  if (part.kind !== 'command') return [];
  if (part.program === '') return ['(dynamic)'];
  const hasSubcommand = part.subcommand !== '' && withSubcommands.has(part.program);
  const program = quoted(part.program);
  return [hasSubcommand ? `${program} ${quoted(part.subcommand)}` : program];
}

/** A name that holds what joins names here is quoted, so that no single odd one spells the shape of several. */
const quoted = (name: string): string => (/^[\w./:@-]+$/.test(name) ? name : JSON.stringify(name));

function bounded(shape: string): string {
  const shown = oneLine(shape, maxLength);
  if (shown === shape) return shape;
  const hash = createHash('sha256').update(shape, 'utf16le').digest('hex').slice(0, 16);
  return `${shown.slice(0, maxLength - 18)}… ${hash}`;
}
