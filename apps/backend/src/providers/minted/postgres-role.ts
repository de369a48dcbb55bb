/**
 * The life of one leased role, in statements. Its name is ours (`kontext_lea_…`) and unguessable, so whatever carries it was
 * made here; still every name and text is quoted, template and database names are an organisation's.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { unreachable } from '../safe-fetch.ts';
import type { Query } from './postgres-admin.ts';

/** What a leased role is made as. */
export interface RoleToMake {
  readonly name: string;
  /** SCRAM verifier; see `makeScramVerifier`. */
  readonly verifier: string;
  readonly template: string;
  readonly connectionLimit: number;
  readonly ttlSeconds: number;
  /** Whether so much time has passed that the role would be made after everybody stopped looking for it. */
  readonly isLate: () => boolean;
}

const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;
/** `E''` spelling, right whatever `standard_conforming_strings` says. */
const literal = (text: string): string => `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;

/**
 * Makes the role. It ends by the database's own clock, whatever ours says.
 *
 * @throws KontextError `KX_MINT_REFUSED` when the template is missing, or may do more than reading and writing data;
 *   `KX_PROVIDER_UNREACHABLE` when it is late.
 */
export async function makeRole(query: Query, role: RoleToMake): Promise<void> {
  await checkTemplate(query, role.template);
  const [clock] = await query(
    `SELECT to_char((now() + make_interval(secs => $1)) AT TIME ZONE 'UTC',
    'YYYY-MM-DD HH24:MI:SS') || '+00' AS until`,
    [role.ttlSeconds],
  );
  if (role.isLate()) throw unreachable('timeout', 'the database', 'it took too long to reach it');
  await query(
    `CREATE ROLE ${identifier(role.name)} LOGIN INHERIT CONNECTION LIMIT ${role.connectionLimit}
      PASSWORD ${literal(role.verifier)} VALID UNTIL ${literal(String(clock?.until))}
      IN ROLE ${identifier(role.template)}`,
  );
}

/**
 * Predefined roles that run programs or reach files as the server does. Its documentation equates each with a superuser
 * (https://www.postgresql.org/docs/current/predefined-roles.html).
 */
const mightyRoles = ['pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'];

/**
 * A member may `SET ROLE` to its template and to what that is a member of. A superuser or a role that makes roles among them
 * would outlive the lease, and so would one that can log in: every role may set its own password.
 */
async function checkTemplate(query: Query, template: string): Promise<void> {
  const [found] = await query(
    `SELECT bool_or(r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls OR r.rolcanlogin
        OR r.rolname = ANY ($2)) AS mighty
      FROM pg_roles t JOIN pg_roles r ON pg_has_role(t.oid, r.oid, 'MEMBER') WHERE t.rolname = $1
      HAVING count(*) > 0`,
    [template, mightyRoles],
  );
  if (found === undefined) {
    throw new KontextError('KX_MINT_REFUSED', 'the template role does not exist in the database');
  }
  if (found.mighty !== false) {
    throw new KontextError('KX_MINT_REFUSED', 'the template role may do too much', {
      why: 'it is, or is a member of, a role with LOGIN, SUPERUSER, CREATEROLE, REPLICATION or BYPASSRLS, or one that reaches files of the server',
    });
  }
}

/** Whether a role exists. */
export async function roleExists(query: Query, name: string): Promise<boolean> {
  return (await query('SELECT 1 FROM pg_roles WHERE rolname = $1', [name])).length > 0;
}

const patienceMs = 5000;
const pauseMs = 50;

/**
 * Ends a role's life on the server: nobody can log in with it any more, and who is in is thrown out (`VALID UNTIL` and `NOLOGIN`
 * stop new logins alone).
 *
 * @throws KontextError `KX_PROVIDER_UNREACHABLE` when a session of it does not end within 5 s.
 */
export async function cutOff(query: Query, name: string): Promise<void> {
  await query(`ALTER ROLE ${identifier(name)} NOLOGIN`);
  // Who makes a role may not signal its sessions or give away what it owns, but may make himself a member, who may.
  await query(`GRANT ${identifier(name)} TO CURRENT_USER`);
  // A login that was being answered when NOLOGIN came shows up a moment later.
  for (const deadline = Date.now() + patienceMs; ; await sleep(pauseMs)) {
    const left = await query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [
      name,
    ]);
    if (left.length === 0) return;
    if (Date.now() > deadline)
      throw unreachable('timeout', 'the database', 'a session of the role does not end');
  }
}

/** Databases in which a role owns or was given something; null stands for what all databases share. */
export async function findDatabasesOf(query: Query, name: string): Promise<(string | null)[]> {
  const rows = await query(
    `SELECT DISTINCT d.datname FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
      LEFT JOIN pg_database d ON d.oid = s.dbid
      WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = $1`,
    [name],
  );
  return rows.map(({ datname }) => (typeof datname === 'string' ? datname : null));
}

/** Hands what a role made in this database to its template, and takes back what it was given. */
export async function handOver(query: Query, name: string): Promise<void> {
  const [row] = await query(
    `SELECT t.rolname FROM pg_auth_members m JOIN pg_roles t ON t.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
      WHERE r.rolname = $1`,
    [name],
  );
  if (typeof row?.rolname === 'string') {
    await query(`REASSIGN OWNED BY ${identifier(name)} TO ${identifier(row.rolname)}`);
  }
  await query(`DROP OWNED BY ${identifier(name)}`);
}

/** Removes a role that owns nothing any more. */
export async function dropRole(query: Query, name: string): Promise<void> {
  await query(`DROP ROLE IF EXISTS ${identifier(name)}`);
}
