import type { EntityJson, StatefulAuthorizationCall } from '@cedar-policy/cedar-wasm/web';
import { fitText, type Loss, maxListLength, renderInput, worse } from './render-input.ts';
import type { CallPart, OpaqueCause, ToolCall } from './tool-call.ts';

/** One part of a call as Cedar's question about it. */
export interface PartRequest {
  readonly part: CallPart;
  readonly request: StatefulAuthorizationCall;
}

/**
 * Turns a call into Cedar requests, one per part: every text valid Unicode and at most 16 KiB, at most 100 groups.
 *
 * What was cut or replaced makes the call opaque.
 *
 * @param preparsedPolicySetId Name under which the policies were pre-parsed.
 */
export function cedarRequests(call: ToolCall, preparsedPolicySetId: string): readonly PartRequest[] {
  const fitter = createFitter();
  const input = renderInput(call.input);
  fitter.lose(input.loss);
  const user = userEntity(call, fitter);
  const principal = user.uid;
  const resources = call.parts.map((part) => ({ part, entity: resourceOf(part, input.text, fitter) }));
  const facts = callFacts(call, fitter);
  // Last: by now everything that was cut has been noticed.
  const causes = [...new Set([...call.opaque, ...fitter.causes()])];
  const context = { ...facts, opaque: causes.length > 0, opaqueCauses: causes };
  const action = { type: 'Action', id: 'tool_call' };
  return resources.map(({ part, entity }) => ({
    part,
    request: {
      ...{ principal, action, resource: entity.uid as { type: string; id: string }, context },
      ...{ entities: [user, entity], preparsedPolicySetId },
    },
  }));
}

/** The user with groups and role. */
export function userEntity(
  who: { readonly user: string; readonly groups: readonly string[]; readonly role: string },
  { fit, fitList }: Pick<Fitter, 'fit' | 'fitList'>,
) {
  const role = fit(who.role);
  const groups = fitList(who.groups).map((id) => ({ type: 'Group', id }));
  return {
    uid: { type: 'User', id: fit(who.user) },
    attrs: { role },
    parents: [...groups, { type: 'Role', id: role }],
  };
}

function callFacts(call: ToolCall, { fit, fitList }: Fitter) {
  const at = new Date(call.atMs);
  const programs = call.parts.flatMap((part) => (part.kind === 'command' ? [part.program] : []));
  return {
    agent: fit(call.agent),
    agentVersion: fit(call.agentVersion),
    session: fit(call.session),
    event: fit(call.event),
    tool: fit(call.tool),
    command: fit(call.command),
    cwd: fit(call.cwd),
    permissionMode: fit(call.permissionMode),
    subagent: fit(call.subagent),
    repository: fit(call.repository?.name),
    branch: fit(call.repository?.branch),
    credentials: fitList(call.credentials),
    programs: fitList([...new Set(programs)]),
    ...timeFacts(at),
  };
}

/** Facts about the moment, as every action has them. */
export const timeFacts = (at: Date) => ({
  at: { __extn: { fn: 'datetime', arg: at.toISOString() } },
  hour: at.getUTCHours(),
  weekday: at.getUTCDay() === 0 ? 7 : at.getUTCDay(),
});

function resourceOf(part: CallPart, input: string, { fit, fitList }: Fitter): EntityJson {
  switch (part.kind) {
    case 'tool':
      return { uid: { type: 'Tool', id: fit(part.name) }, attrs: { input }, parents: [] };
    case 'mcp': {
      const server = fit(part.server);
      const tool = fit(part.tool);
      return {
        uid: { type: 'McpTool', id: `${server}/${tool}` },
        attrs: { server, tool, input },
        parents: [{ type: 'McpServer', id: server }],
      };
    }
    case 'command': {
      const { path, args, subcommand, flags, assigns, via, pipedFrom, dynamic } = part;
      const line = fit([path, ...args].join(' '));
      return {
        uid: { type: 'Command', id: fit(part.program) },
        attrs: {
          ...{
            path: fit(path),
            line,
            subcommand: fit(subcommand),
            args: fitList(args),
            flags: fitList(flags),
          },
          ...{ assigns: fitList(assigns), via: fitList(via), pipedFrom: fit(pipedFrom), dynamic },
        },
        parents: [],
      };
    }
    case 'file': {
      const path = fit(part.path);
      const { access, inProject } = part;
      const name = path.slice(path.lastIndexOf('/') + 1);
      const attrs = { path, name, access, inProject, program: fit(part.program) };
      return { uid: { type: 'File', id: path }, attrs, parents: [] };
    }
    case 'host': {
      const name = fit(part.name);
      const attrs = { name, scheme: fit(part.scheme), program: fit(part.program) };
      return { uid: { type: 'Host', id: name }, attrs, parents: [] };
    }
  }
}

type Fitter = ReturnType<typeof createFitter>;

/** Makes texts and lists fit, and remembers the worst that was lost. */
export function createFitter() {
  let loss: Loss = '';
  const fit = (text: string | null | undefined): string => {
    const fitted = fitText(text ?? '');
    loss = worse(loss, fitted.loss);
    return fitted.text;
  };
  return {
    fit,
    fitList(texts: readonly string[]): string[] {
      if (texts.length > maxListLength) loss = worse(loss, 'clipped');
      return texts.slice(0, maxListLength).map(fit);
    },
    lose(other: Loss): void {
      loss = worse(loss, other);
    },
    causes: (): readonly OpaqueCause[] => (loss === '' ? [] : [loss]),
  };
}
