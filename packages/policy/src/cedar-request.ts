import type { StatefulAuthorizationCall } from '@cedar-policy/cedar-wasm/web';
import { fitText, type Loss, maxListLength, renderInput, worse } from './render-input.ts';
import type { ToolCall } from './tool-call.ts';

/**
 * Turns a tool call into a Cedar request: every text valid Unicode and at most 16 KiB, at most 100 groups.
 *
 * What was cut or replaced makes the request opaque, with the worst cause.
 *
 * @param preparsedPolicySetId Name under which the policies were pre-parsed.
 */
export function cedarRequest(call: ToolCall, preparsedPolicySetId: string): StatefulAuthorizationCall {
  let loss: Loss = call.groups.length > maxListLength ? 'clipped' : '';
  const fit = (text: string | null): string => {
    const fitted = fitText(text ?? '');
    loss = worse(loss, fitted.loss);
    return fitted.text;
  };
  const input = renderInput(call.input);
  const principal = { type: 'User', id: fit(call.user) };
  const groups = call.groups.slice(0, maxListLength).map((group) => ({ type: 'Group', id: fit(group) }));
  const resource = { type: 'Tool', id: fit(call.tool) };
  const entities = [{ uid: principal, attrs: { role: fit(call.role) }, parents: groups }];
  const texts = {
    agent: fit(call.agent),
    event: fit(call.event),
    command: fit(call.command),
    cwd: fit(call.cwd),
    permissionMode: fit(call.permissionMode),
    inputText: input.text,
  };
  const opaqueCause = call.opaque ? 'unreadable' : worse(loss, input.loss);
  const context = { ...texts, opaque: opaqueCause !== '', opaqueCause };
  const action = { type: 'Action', id: 'tool_call' };
  return { principal, action, resource, context, entities, preparsedPolicySetId };
}
