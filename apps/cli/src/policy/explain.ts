import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { ExplainDecisionResponse, PolicyDecision } from '@kontext/protocol';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { describeDecision, instant } from './wire.ts';

/**
 * `kontext policy explain`: who called what, how it was decided and by which rule, and what would be decided now.
 *
 * @throws KontextError `KX_USAGE` when it is no id of an event; `KX_NOT_FOUND` when the caller may not see it.
 */
export async function explain(
  { terminal, signal }: Context,
  clients: Clients,
  eventId: string,
  json: boolean,
): Promise<number> {
  if (!isId('evt', eventId)) {
    throw new KontextError('KX_USAGE', `${eventId} is no event`, {
      hint: '`kontext audit tail --json` shows the ids of events',
    });
  }
  const answer = await clients.policies.explainDecision({ eventId }, { signal });
  if (json) terminal.json(describe(answer));
  else for (const line of linesOf(answer)) terminal.out(line);
  return 0;
}

const describe = (answer: ExplainDecisionResponse) => ({
  ...{ eventId: answer.eventId, sessionId: answer.sessionId, user: answer.userName, tool: answer.tool },
  ...{ occurredAt: instant(answer.occurredAt), parts: answer.parts },
  recorded: answer.recorded ? describeDecision(answer.recorded) : null,
  again: answer.again ? describeDecision(answer.again) : null,
  notReproducible: answer.notReproducible || null,
  ruleText: answer.ruleText || null,
});

function linesOf(answer: ExplainDecisionResponse): string[] {
  const { recorded, again, ruleText, notReproducible } = answer;
  return [
    `event: ${answer.eventId}`,
    `session: ${answer.sessionId}`,
    `user: ${answer.userName}`,
    `at: ${instant(answer.occurredAt) ?? '-'}`,
    `tool: ${answer.tool}`,
    ...answer.parts.map((part) => `part: ${part}`),
    ...(recorded ? decisionLines('decision', recorded) : []),
    ...(again
      ? decisionLines('decided again', again)
      : [`decided again: no, ${notReproducible || 'it cannot be'}`]),
    ...(ruleText === '' ? [] : ['rule:', ...ruleText.split('\n').map((line) => `  ${line}`)]),
  ];
}

function decisionLines(what: string, decision: PolicyDecision): string[] {
  const { effect, rule, reason, part, approver, policyVersion, mode, failure } = describeDecision(decision);
  const by = rule === null ? '' : ` by rule ${rule}`;
  return [
    `${what}: ${effect}${by}, version ${policyVersion}, ${mode}`,
    `  reason: ${reason}`,
    ...(part === null ? [] : [`  because of: ${part}`]),
    ...(approver === null ? [] : [`  approver: ${approver}`]),
    ...(failure === null ? [] : [`  failure: ${failure}`]),
  ];
}
