import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ModelTurn, partState, toolResults } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bash,
  type ClaudeStage,
  type FinishedAgent,
  type Project,
  setClaudeStage,
  toolStory,
} from './stage.ts';

const claude = partState('claude');
const bypass = ['-p', 'go', '--permission-mode', 'bypassPermissions'];
const desk = fileURLToPath(new URL('desk-server.cjs', import.meta.url));

/** Rules of this machine, on top of the starter's. */
const rules = `
@id("desk-asks-nobody")
@reason("the desk may ask nobody")
forbid (principal, action == Action::"tool_call", resource is McpTool)
when { resource.server == "my desk" && resource.tool == "elicitation" };

@id("shelf-burns-nothing")
@reason("the shelf burns nothing")
forbid (principal, action == Action::"tool_call", resource is McpTool in McpServer::"shelf")
when { resource.input like "*burn*" };

@id("no-helper-touches")
@reason("helpers touch nothing")
forbid (principal, action == Action::"tool_call", resource is Command)
when { resource == Command::"touch" && context.subagent == "general-purpose" };
`;

describe.skipIf(!claude.available)(`decisions about the real Claude Code ${claude.reason}`, () => {
  let stage: ClaudeStage;
  let project: Project;
  beforeAll(async () => {
    stage = await setClaudeStage();
    const folder = join(stage.world.home.env.XDG_CONFIG_HOME ?? '', 'kontext/policy');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'desk.cedar'), rules);
  });
  afterAll(() => stage?.close());

  const withDesk = (): readonly string[] => {
    const server = { command: process.execPath, args: [desk] };
    return ['--mcp-config', project.write('desk.json', { mcpServers: { 'my desk': server } })];
  };
  const useDesk = (command: string): ModelTurn => ({
    toolUses: [{ id: 'toolu_desk', name: 'mcp__my_desk__run', input: { command } }],
  });
  const resultOf = (run: FinishedAgent, id: string) =>
    run.model.turns.map((turn) => toolResults(turn).get(id)).find((result) => result !== undefined);
  const env = { ENABLE_TOOL_SEARCH: 'false' };

  it('a command inside the input of an MCP tool is judged as one of the shell', async () => {
    project = stage.makeProject();

    const run = await stage.start({
      ...{ project, env, args: [...bypass, ...withDesk()] },
      model: [useDesk('rm -rf /elsewhere')],
    });

    const events = await stage.eventsOf(run);
    expect(resultOf(run, 'toolu_desk')).toMatchObject({ isError: true });
    expect(resultOf(run, 'toolu_desk')?.text).toContain('kontext: denied by rule starter.');
    expect(toolStory(events)).toEqual(['tool_call.decided toolu_desk deny']);
  });

  it("calls of the project's own MCP server are decided by server and input, and recorded with both", async () => {
    project = stage.makeProject();
    const shelf = { command: process.execPath, args: [desk] };
    project.write('.mcp.json', { mcpServers: { shelf } });
    project.write('.claude/settings.local.json', { enableAllProjectMcpServers: true });
    const use = (id: string, command: string): ModelTurn => ({
      toolUses: [{ id, name: 'mcp__shelf__run', input: { command } }],
    });

    const run = await stage.start({
      ...{ project, env, args: bypass },
      model: [use('toolu_ls', 'ls'), use('toolu_burn', 'burn a.txt')],
    });

    const events = await stage.eventsOf(run);
    const calls = toolStory(events.filter(({ tool }) => tool !== 'Elicitation'));
    expect(resultOf(run, 'toolu_ls')?.text).toContain('answered: ');
    expect(resultOf(run, 'toolu_burn')?.text).toContain('local.shelf-burns-nothing: the shelf burns nothing');
    expect(calls).toEqual([
      'tool_call.decided toolu_ls allow',
      'tool_call.completed toolu_ls',
      'tool_call.decided toolu_burn deny',
    ]);
    expect(events.find(({ kind }) => kind === 'tool_call.decided')?.payload).toMatchObject({
      call: { parts: expect.arrayContaining([{ kind: 'mcp', server: 'shelf', tool: 'run' }]) },
    });
  });

  it('a question of an MCP server that a rule forbids is declined, and the agent goes on', async () => {
    project = stage.makeProject();

    const run = await stage.start({
      ...{ project, env, args: [...bypass, ...withDesk()] },
      model: [useDesk('ls')],
    });

    const events = await stage.eventsOf(run);
    const asked = events.find(({ tool, kind }) => tool === 'Elicitation' && kind === 'tool_call.decided');
    expect(run.exitCode).toBe(0);
    expect(resultOf(run, 'toolu_desk')?.text).toContain('answered: decline');
    expect(asked).toMatchObject({ decision: 'deny', header: { rule: 'local.desk-asks-nobody' } });
    expect(events.map(({ kind }) => kind).filter((kind) => kind.startsWith('tamper.'))).toEqual([]);
  });

  it('a call of a sub-agent is decided as one of its kind', async () => {
    project = stage.makeProject();
    const helper = { description: 'help', prompt: 'HELPER', subagent_type: 'general-purpose' };
    const isHelper = (body: unknown): boolean => JSON.stringify(body).includes('HELPER');
    let helped = false;

    const run = await stage.start({
      project,
      args: bypass,
      model: (request, index) => {
        if (index === 0) return { toolUses: [{ id: 'toolu_agent', name: 'Agent', input: helper }] };
        const first = request.body?.messages?.find(({ role }) => role === 'user');
        if (helped || !isHelper(first)) return { text: 'done' };
        helped = true;
        return bash('toolu_helper', 'touch made.txt');
      },
    });

    const events = await stage.eventsOf(run);
    const decided = events.find(({ header }) => header.toolUse === 'toolu_helper');
    expect(decided).toMatchObject({
      ...{ decision: 'deny', header: { rule: 'local.no-helper-touches' } },
      payload: { call: { subagent: 'general-purpose' } },
    });
    expect(existsSync(join(project.dir, 'made.txt'))).toBe(false);
    expect(events.map(({ kind }) => kind).filter((kind) => kind.startsWith('tamper.'))).toEqual([]);
  });

  it('a rule that asks denies where nobody answers, and says where the question is open', async () => {
    project = stage.makeProject();

    const run = await stage.start({
      ...{ project, args: bypass, env: { KONTEXT_HOOK_TIMEOUT_MS: '5000' } },
      model: [bash('toolu_pay', 'stripe post /v1/refunds')],
    });

    const events = await stage.eventsOf(run);
    expect(resultOf(run, 'toolu_pay')?.text).toMatch(
      /denied by rule starter\.payment-command: .*approval apr_\S+ is open at http\S+; approved\? try again/,
    );
    // What the backend writes in between stands in a stream of its own.
    const ours = toolStory(events).filter((line) => line.startsWith('tool_call.'));
    expect(ours).toEqual(['tool_call.proposed toolu_pay ask', 'tool_call.decided toolu_pay deny']);
  });

  it('each call carries version, repository and branch, also after a checkout by the call before', async () => {
    project = stage.makeProject();
    const git = (...args: string[]) => execFileSync('git', args, { cwd: project.dir, stdio: 'ignore' });
    git('init', '-b', 'main');
    git('remote', 'add', 'origin', 'https://dev:secret-token@github.com/acme/shop.git');

    const run = await stage.start({
      project,
      args: bypass,
      model: [bash('toolu_1', 'git checkout -b side'), bash('toolu_2', 'true')],
    });

    const events = await stage.eventsOf(run);
    const calls = events
      .filter(({ kind }) => kind === 'tool_call.decided')
      .map(({ payload }) => payload.call);
    expect(calls).toMatchObject([
      { agentVersion: '2.1.330', repository: { name: 'github.com/acme/shop', branch: 'main' } },
      { agentVersion: '2.1.330', repository: { name: 'github.com/acme/shop', branch: 'side' } },
    ]);
    expect(JSON.stringify(events)).not.toContain('secret-token');
  });
});
