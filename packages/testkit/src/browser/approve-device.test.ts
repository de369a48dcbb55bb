import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { approveDevice } from './approve-device.ts';

/** A login and decision flow such as a device flow has, with a cookie, a CSRF field and redirects. */
function answer(request: IncomingMessage, response: ServerResponse, body: URLSearchParams): void {
  const loggedIn = (request.headers.cookie ?? '').includes('who=owner');
  const url = new URL(request.url ?? '', 'http://host');
  const page = (html: string) => response.writeHead(200, { 'content-type': 'text/html' }).end(html);
  if (url.pathname === '/activate' && request.method === 'GET' && !loggedIn) {
    page(`<form method="get" action="/help"><button>Help</button></form>
      <form method="post" action="/login"><input type="hidden" name="next" value="${url.search.replace('&', '&amp;')}">
      <input name="account"><input name="passcode" type="password"><button type="submit">Sign in</button></form>`);
  } else if (url.pathname === '/login') {
    const right = body.get('account') === 'owner' && body.get('passcode') === 'AAAA-BBBB';
    if (!right) response.writeHead(401, { 'content-type': 'text/html' }).end('<p>wrong passcode</p>');
    else
      response
        .writeHead(303, {
          location: `/activate${body.get('next')}`,
          'set-cookie': 'who=owner; Path=/; HttpOnly',
        })
        .end();
  } else if (url.pathname === '/activate' && request.method === 'GET') {
    page(`<form method='post'><input type=hidden name=csrf value=t&#x6f;ken>
      <button name="decision" value="deny">Deny</button><button name="decision" value="approve">Approve</button></form>`);
  } else {
    page(
      `<p>decision ${body.get('decision')} csrf ${body.get('csrf')} code ${url.searchParams.get('user_code')}</p>`,
    );
  }
}

describe('approveDevice', () => {
  let server: Server;
  let verificationUriComplete: string;
  beforeEach(async () => {
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += String(chunk);
      });
      request.on('end', () => answer(request, response, new URLSearchParams(body)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    verificationUriComplete = `http://127.0.0.1:${port}/activate?user_code=BCDF-GHJK&x=1`;
  });
  afterEach(() => server.close());

  it('logs in, keeps the cookie and the hidden fields, and presses approve', async () => {
    const page = await approveDevice({ verificationUriComplete, account: 'owner', passcode: 'AAAA-BBBB' });

    expect(page.html).toContain('decision approve csrf token code BCDF-GHJK');
  });

  it('presses deny when asked to', async () => {
    const approval = {
      verificationUriComplete,
      account: 'owner',
      passcode: 'AAAA-BBBB',
      decision: 'deny',
    } as const;

    const page = await approveDevice(approval);

    expect(page.html).toContain('decision deny');
  });

  it('reports the error page when the passcode is wrong', async () => {
    const approving = approveDevice({ verificationUriComplete, account: 'owner', passcode: 'wrong' });

    await expect(approving).rejects.toThrow('401');
    await expect(approving).rejects.toThrow('wrong passcode');
  });
});
