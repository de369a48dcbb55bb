/**
 * Fills a store with realistic events, in the database itself: ten million of them could not be sent one by one.
 *
 * Sessions of about a thousand events over thirty days, by two hundred people with a handful of tools, one call in fifty denied;
 * header and payload have the length and the members of real ones. The hashes are random: nothing here is to be verified.
 */
import { sql } from '../databases.ts';

/** Whose events they are. */
interface LoadedFor {
  readonly orgId: string;
  readonly agentId: string;
}

const perSession = 1000;
const days = 30;
const atOnce = 100_000;
/** Of one statement: grouping ten million rows takes minutes on a busy machine. */
const timeoutMs = 3_600_000;

/** Fills the store of the one organisation there is. @param count Rounded up to whole sessions. */
export async function fillStore(url: string, count: number): Promise<void> {
  const [orgId = ''] = await sql(url, "SELECT id FROM orgs WHERE slug = 'default'");
  const [agentId = ''] = await sql(
    url,
    `SELECT id FROM agents WHERE org_id = '${orgId}' AND name = 'claude'`,
  );
  await loadEvents(url, { orgId, agentId }, count);
}

async function loadEvents(url: string, owner: LoadedFor, count: number): Promise<void> {
  const load = (statements: string) => sql(url, statements, timeoutMs);
  const sessions = Math.ceil(count / perSession);
  await load(`SELECT kontext_make_partitions(current_date - ${days}, ${days})`);
  await load(peopleText(owner));
  await load(sessionsText(owner, sessions));
  const step = atOnce / perSession;
  for (let from = 0; from < sessions; from += step) {
    await load(eventsText(owner, from, Math.min(sessions, from + step)));
  }
  await load(rollupsText(owner));
  await load('ANALYZE audit_events; ANALYZE audit_payloads; ANALYZE audit_streams; ANALYZE sessions');
}

/** The same number always gives the same id, in the form of a UUIDv7. */
const idOf = (prefix: string, number: string): string =>
  `'${prefix}_' || regexp_replace(md5('${prefix}' || ${number}), '^(.{8})(.{4}).(.{3}).(.{3})(.{12})$', '\\1-\\2-7\\3-8\\4-\\5')`;

const peopleText = ({ orgId }: LoadedFor): string => `
  INSERT INTO users (id, org_id, name, email, created_at)
  SELECT ${idOf('usr', 'n')}, '${orgId}', 'dev-' || n, 'dev-' || n || '@shop.example', now() FROM generate_series(0, 199) n`;

const sessionsText = ({ orgId, agentId }: LoadedFor, count: number): string => `
  INSERT INTO sessions (id, org_id, user_id, agent_id, agent, agent_version, hostname, cli_version, state, mode, policy_version,
    login_grant_id, started_at, last_heartbeat_at, ended_at, exit_code, repository)
  SELECT ${idOf('ses', 'n')}, '${orgId}', ${idOf('usr', '(n % 200)')}, '${agentId}', 'claude', '2.1.330', 'laptop-' || n % 200,
    '0.1.0', 'ended', 'enforce', 1, 'bench', ${startOf('n', count)}, ${startOf('n', count)}, ${startOf('n', count)}, 0,
    'git.example/shop/service-' || n % 40
  FROM generate_series(0, ${count - 1}) n;
  INSERT INTO audit_streams (id, org_id, kind, session_id, user_id, nonce, head_seq, head_hash, part_day, part_started_at,
    created_at, updated_at)
  SELECT ${idOf('str', 'n')}, '${orgId}', 'client', ${idOf('ses', 'n')}, ${idOf('usr', '(n % 200)')}, '', ${perSession}, '',
    (${startOf('n', count)} AT TIME ZONE 'UTC')::date, ${startOf('n', count)}, ${startOf('n', count)},
    ${startOf('n', count)} + interval '1 hour'
  FROM generate_series(0, ${count - 1}) n;
  INSERT INTO audit_stream_days (org_id, stream_id, first_seq, part_day)
  SELECT '${orgId}', ${idOf('str', 'n')}, 1, (${startOf('n', count)} AT TIME ZONE 'UTC')::date
  FROM generate_series(0, ${count - 1}) n`;

/** Sessions begin one after the other over the days, the last two hours ago. */
const startOf = (number: string, count: number): string =>
  `(date_trunc('hour', now()) - interval '2 hours' - interval '${days - 1} days' * (1 - (${number} + 1)::float8 / ${count}))`;

function eventsText({ orgId }: LoadedFor, from: number, to: number): string {
  return `
  WITH made AS (
    SELECT n, seq, (st.part_day) AS part_day, st.id AS stream_id, st.session_id, st.user_id,
      st.created_at + seq * interval '3.5 seconds' AS at, ${idOf('evt', "n || '.' || seq")} AS event_id,
      (ARRAY['tool_call.proposed','tool_call.decided','tool_call.completed'])[seq % 3 + 1] AS kind,
      (ARRAY['Bash','Bash','Bash','Read','Read','Edit','Write','Grep','WebFetch','mcp__github__create_issue'])[(seq / 3) % 10 + 1] AS tool,
      'toolu_' || seq / 3 AS tool_use,
      CASE WHEN seq % 3 = 1 THEN CASE WHEN (seq / 3 + n) % 50 = 0 THEN 'deny' ELSE 'allow' END END AS decision
    FROM generate_series(${from}, ${to - 1}) n
    CROSS JOIN LATERAL (SELECT * FROM audit_streams WHERE id = ${idOf('str', 'n')}) st
    CROSS JOIN generate_series(1, ${perSession}) seq),
  stored AS (
    INSERT INTO audit_events (part_day, stream_id, seq, org_id, event_id, kind, session_id, user_id, agent, tool, tool_use_id,
      decision, rule, policy_version, occurred_at, received_at, late, header, chain)
    SELECT part_day, stream_id, seq, '${orgId}', event_id, kind, session_id, user_id, 'claude', tool, tool_use, decision,
      CASE WHEN decision = 'deny' THEN 'starter.destructive.rm' END, 1, at, at, false,
      format('{"v":1,"org":"%s","stream":"%s","seq":%s,"id":"%s","kind":"%s","session":"%s","user":"%s","agent":"claude","tool":"%s","toolUse":"%s","decision":"%s","rule":null,"policyVersion":1,"mode":"enforce","occurredAt":"%s","lineage":{"leases":[],"connection":null,"approval":null,"serverEvent":null},"redaction":"full-v1","payloadHash":"%s","missing":null}',
        '${orgId}', stream_id, seq, event_id, kind, session_id, user_id, tool, tool_use, decision, at, md5(event_id) || md5(stream_id || seq)),
      decode(md5(event_id || '1') || md5(event_id || '2'), 'hex')
    FROM made)
  INSERT INTO audit_payloads (retention_class, part_day, stream_id, org_id, seq, salt, payload)
  SELECT 'standard', part_day, stream_id, '${orgId}', seq, decode(md5(event_id), 'hex'),
    format('{"call":{"v":2,"tool":"%s","cwd":"/home/dev/shop","parts":[{"kind":"command","program":"npm","args":["run","test","--","--shard","%s"]}]},"input":{"command":"npm run test -- --shard %s/50","description":"run the tests of part %s"},"result":"%s"}',
      tool, seq, seq, n, repeat(md5(event_id) || ' ', 6))
  FROM made WHERE seq % 3 > 0`;
}

const rollupsText = ({ orgId }: LoadedFor): string => `
  INSERT INTO audit_rollups (org_id, hour, kind, user_id, agent, tool, decision, mode, count)
  SELECT org_id, date_trunc('hour', received_at), kind, coalesce(user_id, ''), coalesce(agent, ''), coalesce(tool, ''),
    coalesce(decision, ''), 'enforce', count(*)
  FROM audit_events WHERE org_id = '${orgId}' AND agent = 'claude' GROUP BY 1, 2, 3, 4, 5, 6, 7
  ON CONFLICT (org_id, hour, kind, user_id, agent, tool, decision, mode) DO UPDATE SET count = EXCLUDED.count`;
