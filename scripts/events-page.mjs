// The page docs/audit-events.md: words from here, kinds and members from the table the JSON Schema is made of.

const intro = `An event is a *header*, which is kept, and mostly a *payload* beside it, which can be left out, withheld and erased without breaking the
chain ([audit-log.md](audit-log.md)). Both are JSON texts; the very bytes are hashed and stored. The same as JSON Schema (draft-07), with the
payload of each kind under \`definitions\`: [packages/audit/schema/audit-event-v1.json](../packages/audit/schema/audit-event-v1.json).
Kinds and members are added and never renamed: leave out what you do not know.`;

const settings = `## What is kept of payloads

The organisation chooses (\`kontext audit settings\`); running sessions follow with their next heartbeat. A record of \`kontext start --local\` is \`full\`.

| Setting | Calls that were decided | Everything else a hook server writes |
| --- | --- | --- |
| \`summary\` (default) | reason, part, what was asked, short facts, and \`call\`, the view that policy decided on | names, lengths, durations, outcomes; of tampering also the input that ran |
| \`full\` | the same | also errors and results |
| \`omitted\` | \`call\`, and what says how far it can be trusted | no payload |

## Secrets

Nothing is recorded, or shown to whoever approves, that has not been searched for secrets: for the values of the session's own credentials in
every form they could be copied in, for members with sensitive names, and for the patterns of
[pattern-set.ts](../packages/redaction/src/pattern-set.ts). What is found becomes \`[redacted]\`, wherever in the payload it stands.
Policy decides before patterns are looked for, because an agent could hide a command behind \`TOKEN='…'\`; when something was
taken out of \`call\` afterwards, \`callRedacted\` says so, and replay counts the call as one it cannot decide again exactly. A payload that cannot
be searched within 50 ms of processor time per 64 KiB is left out (\`missing: "payload"\`), never kept raw.

The backend searches again whatever clients send, whatever their headers say, by names and patterns. Where it finds something, payload and salt are not
stored; the header stays, the chain verifies, and \`payload.withheld\` says so. Headers cannot be withheld: the hook server
takes secrets out of the names in them and puts U+FFFD for every character that cannot be seen or that turns a line around, before it hashes them. The
backend refuses a batch in which a name still holds either (\`KX_EVENT_INVALID\`) and records a \`tamper.fork\` with the place and the reason, never
the name. An older version whose spool meets that keeps it, says so in \`kontext status\`, and offers it again until the session is over for 7 days.
An agent that wants to hide a secret, by encrypting it or computing with it, can.`;

const typeOf = (type) =>
  ({ count: 'integer', flag: 'true or false', texts: 'list of texts', any: 'any JSON' })[
    type.replace('null|', '').replace('?', '')
  ] ?? type.replace('null|', '').replace('?', '');
const shownType = (type) =>
  typeOf(type) + (type.startsWith('null|') ? ' or null' : '') + (type.endsWith('?') ? ', optional' : '');
const writers = { client: 'Hook server.', server: 'Backend.', both: 'Hook server or backend.' };

export function eventsPage({ kindSpecs, headerFields }, { table, note }) {
  const header = table(
    ['Member', 'What it says'],
    Object.entries(headerFields).map(([name, [, says]]) => [`\`${name}\``, says]),
  );
  const kinds = Object.entries(kindSpecs)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { says, by, forms }]) =>
      [
        `### ${name}`,
        `${says} *${writers[by]}*`,
        ...forms.flatMap(({ when, fields, example }) => [
          ...(when === '' ? [] : [`When ${when}:`]),
          table(
            ['Member', 'Type', 'What it says'],
            Object.entries(fields).map(([field, [type, text]]) => [`\`${field}\``, shownType(type), text]),
          ),
          `\`\`\`json\n${JSON.stringify(example)}\n\`\`\``,
        ]),
      ].join('\n\n'),
    );
  return `${[
    '# Audit events',
    note,
    intro,
    '## Header',
    header,
    settings,
    '## Kinds and their payloads',
    ...kinds,
  ].join('\n\n')}\n`;
}
