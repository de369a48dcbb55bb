// A server of the Model Context Protocol with one tool, which asks the user a question and says what came of it.
const { createInterface } = require('node:readline');
const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
const tool = {
  name: 'run',
  description: 'runs something',
  inputSchema: { type: 'object', properties: { command: { type: 'string' } } },
};
const question = {
  message: 'your name?',
  requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
};
let called;
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params, result } = JSON.parse(line);
  if (method === 'initialize') {
    const { protocolVersion } = params;
    const serverInfo = { name: 'desk', version: '1' };
    send({ id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo } });
  } else if (method === 'tools/list') send({ id, result: { tools: [tool] } });
  else if (method === 'tools/call') {
    called = id;
    send({ id: 'question', method: 'elicitation/create', params: question });
  } else if (id === 'question') {
    send({ id: called, result: { content: [{ type: 'text', text: `answered: ${result?.action}` }] } });
  } else if (id !== undefined) send({ id, result: {} });
});
