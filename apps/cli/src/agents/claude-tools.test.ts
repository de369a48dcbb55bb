import type { CallAction } from '@kontext/policy';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readTool, steadyInput } from './claude-tools.ts';

const read = (tool: string, input: unknown, mcpServer: string | null = null) =>
  readTool({ tool, input, mcpServer });
const shell = (command: string, kind: 'posix' | 'other' = 'posix'): CallAction => ({
  kind: 'shell',
  command,
  shell: kind,
});
const file = (path: string, access: 'read' | 'write' = 'read'): CallAction => ({
  kind: 'file',
  path,
  access,
});

describe('tools of claude', () => {
  const cases: [string, unknown, CallAction[]][] = [
    ['Bash', { command: 'ls' }, [shell('ls')]],
    ['Monitor', { command: 'tail -f x', persistent: false }, [shell('tail -f x')]],
    ['Monitor', { ws: { url: 'wss://a.test/x' } }, [{ kind: 'fetch', url: 'wss://a.test/x' }]],
    ['PowerShell', { command: 'rm x' }, [shell('rm x', 'other')]],
    ['Read', { file_path: '/a' }, [file('/a')]],
    ['Write', { file_path: 'a', content: 'x' }, [file('a', 'write')]],
    ['Edit', { file_path: '~/a', old_string: '', new_string: '' }, [file('~/a', 'write')]],
    ['MultiEdit', { file_path: '/a', edits: [] }, [file('/a', 'write')]],
    ['NotebookEdit', { notebook_path: '/n.ipynb' }, [file('/n.ipynb', 'write')]],
    ['NotebookRead', { notebook_path: '/n.ipynb' }, [file('/n.ipynb')]],
    ['LS', { path: '/d' }, [file('/d')]],
    ['Glob', { pattern: '**/*.ts' }, [file('.')]],
    ['Glob', { pattern: '/etc/*', path: 'src' }, [file('src'), file('/etc/')]],
    ['Glob', { pattern: '../../*.pem', path: 'src' }, [file('src'), file('src/../../')]],
    ['Glob', { pattern: '~/.ssh/*' }, [file('.'), file('~/.ssh/')]],
    ['Grep', { pattern: 'x', path: '/d', glob: '../*.key' }, [file('/d'), file('/d/../')]],
    ['WebFetch', { url: 'https://a.test/', prompt: 'x' }, [{ kind: 'fetch', url: 'https://a.test/' }]],
    ['WebSearch', { query: 'rm -rf' }, []],
    ['Agent', { prompt: 'rm -rf', subagent_type: 'x' }, []],
    ['SlashCommand', { command: '/review 1' }, []],
    ['TodoWrite', { todos: [] }, []],
    ['Unknown', { x: 1 }, []],
    ['Unknown', { command: 'rm -rf x' }, [shell('rm -rf x')]],
    ['Read', { file_path: 5 }, []],
    ['Read', null, []],
    ['constructor', { file_path: '/a' }, []],
  ];
  it.each(cases)('%s with %j', (tool, input, actions) => {
    const first = actions[0];
    expect(read(tool, input)).toEqual({ command: first?.kind === 'shell' ? first.command : null, actions });
  });

  const mcp = (server: string, tool: string): CallAction => ({ kind: 'mcp', server, tool });

  it.each([
    ['mcp__github__create_issue', null, mcp('github', 'create_issue')],
    ['mcp__github__create_issue', 'github', mcp('github', 'create_issue')],
    ['mcp__git_hub__a__b', 'git hub', mcp('git hub', 'a__b')],
    ['mcp__github__evil__x', 'github__evil', mcp('github__evil', 'x')],
    ['mcp__other__x', 'real', mcp('real', 'x')],
    ['mcp__alone', null, mcp('alone', '')],
  ])('%s of the server %s', (tool, server, action) => {
    expect(read(tool, {}, server).actions).toEqual([action]);
  });

  it('show every command in the input of an MCP tool, at any depth, also as a list of words', () => {
    const input = { command: 'a', steps: [{ command: ['rm', '-rf', "it's"] }, { command: 5 }] };
    expect(read('mcp__x__y', input)).toEqual({
      command: 'a',
      actions: [mcp('x', 'y'), shell('a'), shell("'rm' '-rf' 'it'\\''s'")],
    });
  });

  it('cannot be made to overlook a command by a great many before it', () => {
    const input = { steps: [...Array(300).fill({ command: '' }), { command: 'rm -rf /' }] };
    expect(read('mcp__x__y', input).actions).toContainEqual(shell('', 'other'));
  });

  it('name a question of a server after the server, with the host it leads to', () => {
    expect(read('Elicitation', { message: 'hi', url: 'https://a.test' }, 'desk').actions).toEqual([
      mcp('desk', 'elicitation'),
      { kind: 'fetch', url: 'https://a.test' },
    ]);
  });

  it('are read whatever their input is', () => {
    const names = fc.oneof(fc.constantFrom(...cases.map(([name]) => name), 'mcp__a__b'), fc.string());
    const servers = fc.option(fc.string());
    fc.assert(
      fc.property(names, fc.jsonValue(), servers, (tool, input, server) => {
        for (const action of read(tool, input, server).actions) {
          expect(['shell', 'file', 'fetch', 'mcp']).toContain(action.kind);
        }
      }),
    );
  });
});

describe('what stays of an input although its user was asked', () => {
  it('is the file of one that is written, nothing of a question, all of anything else', () => {
    expect(steadyInput('Edit', { file_path: '/a', new_string: 'x' })).toBe('/a');
    expect(steadyInput('AskUserQuestion', { questions: [] })).toBeNull();
    expect(steadyInput('Bash', { command: 'ls' })).toEqual({ command: 'ls' });
    expect(steadyInput('Read', { file_path: '/a', limit: 1 })).toEqual({ file_path: '/a', limit: 1 });
  });
});
