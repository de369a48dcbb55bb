/** Which settings of Claude Code could take the ground from under our hooks, and in which files they lie. */
import { join } from 'node:path';
import type { SettingsPlaces } from './agent.ts';
import { isObject } from './merge-settings.ts';

/** Members that bear on hooks, on what is loaded into them, or on who is asked. */
const guardedMembers = [
  'hooks',
  'disableAllHooks',
  'allowManagedHooksOnly',
  'allowManagedPermissionRulesOnly',
  'env',
  'apiKeyHelper',
  'enableAllProjectMcpServers',
  'disableSkillShellExecution',
] as const;
const guardedPermissions = ['defaultMode', 'disableBypassPermissionsMode', 'disableAutoMode'] as const;

/** Those members of a settings file, where they are set. Rules the user allows while working are not among them. */
export function guardedSettings(settings: unknown): unknown {
  if (!isObject(settings)) return {};
  const { permissions } = settings;
  const asked = isObject(permissions) ? presentOnly(permissions, guardedPermissions) : {};
  return { ...presentOnly(settings, guardedMembers), permissions: asked };
}

const presentOnly = (from: Readonly<Record<string, unknown>>, names: readonly string[]) =>
  Object.fromEntries(names.filter((name) => Object.hasOwn(from, name)).map((name) => [name, from[name]]));

const managed: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  linux: '/etc/claude-code',
  darwin: '/Library/Application Support/ClaudeCode',
};

/** Settings of the machine, the user, the project, and the user in the project. */
export function settingsFiles({ home, project, environment }: SettingsPlaces): readonly string[] {
  const user = environment.CLAUDE_CONFIG_DIR || (home === null ? null : join(home, '.claude'));
  const machine = managed[process.platform];
  return [
    ...(machine === undefined ? [] : [join(machine, 'managed-settings.json')]),
    ...(user === null ? [] : [join(user, 'settings.json')]),
    join(project, '.claude', 'settings.json'),
    join(project, '.claude', 'settings.local.json'),
  ];
}
