#!/usr/bin/env node
// Checks the walls of the house, then checks the check: every wall must stop a violation planted in a copy of the tree.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import config from '../.dependency-cruiser.mjs';
import { plants, textPlants } from './walls-plants.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Below this many modules the scan has missed most of the tree (it reports green on nothing). */
const moduleFloor = 120;

/** Words that belong to one file of a room: [name, where it is looked for, where it may stand, pattern]. */
const textWalls = [
  [
    'env-in-config',
    /^(apps\/(cli|backend)|packages\/(?!testkit))\/?.*\/src\//,
    /\/config\.ts$/,
    /\bprocess\.env\b/,
  ],
  [
    'terminal-alone',
    /^apps\/cli\/src\//,
    /\/(terminal|main|hooks\/client-main|login\/keyring-store)\.ts$/,
    /\bprocess\.(stdout|stderr)\b/,
  ],
  ['no-console-in-packages', /^packages\/(?!testkit)[^/]+\/src\//, /^$/, /\bconsole\./],
];

function cruise(cwd) {
  const result = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs'),
      'packages',
      'apps',
      '--config',
      '.dependency-cruiser.mjs',
      '--output-type',
      'json',
    ],
    { cwd, encoding: 'utf8', maxBuffer: 1 << 28 },
  );
  if (!result.stdout) throw new Error(`dependency-cruiser said nothing: ${result.stderr}`);
  return JSON.parse(result.stdout).summary;
}

function* sources(dir, base) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory() && !['node_modules', 'dist', 'gen', 'testdata'].includes(entry.name))
      yield* sources(path, base);
    else if (entry.name.endsWith('.ts') && !/\.test\.ts$|^test-/.test(entry.name)) yield relative(base, path);
  }
}

function textViolations(base) {
  const found = [];
  for (const file of [...sources(join(base, 'packages'), base), ...sources(join(base, 'apps'), base)]) {
    const walls = textWalls.filter(([, where, allowed]) => where.test(file) && !allowed.test(file));
    if (walls.length === 0) continue;
    const code = readFileSync(join(base, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    for (const [name, , , pattern] of walls) if (pattern.test(code)) found.push({ rule: name, file });
  }
  return found;
}

/** A copy of the tree in which workspace links point into the copy. */
function sandbox() {
  const dir = mkdtempSync(join(tmpdir(), 'kontext-walls-'));
  const skip = /\/(node_modules|dist)$/;
  for (const name of ['packages', 'apps'])
    cpSync(join(root, name), join(dir, name), { recursive: true, filter: (from) => !skip.test(from) });
  for (const name of ['package.json', 'tsconfig.json', '.dependency-cruiser.mjs'])
    cpSync(join(root, name), join(dir, name));
  mkdirSync(join(dir, 'node_modules/@kontext'), { recursive: true });
  for (const entry of readdirSync(join(root, 'node_modules'))) {
    if (entry !== '@kontext' && !entry.startsWith('.'))
      symlinkSync(join(root, 'node_modules', entry), join(dir, 'node_modules', entry));
  }
  for (const area of ['packages', 'apps']) {
    for (const room of readdirSync(join(dir, area)))
      symlinkSync(join(dir, area, room), join(dir, 'node_modules/@kontext', room));
  }
  return dir;
}

function selfTest() {
  const dir = sandbox();
  try {
    for (const [rule, file, text] of [...plants, ...textPlants]) {
      const path = join(dir, file.replace('%', `planted-${rule}`));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
    const seen = new Set(
      [
        ...cruise(dir).violations.map((v) => ({ rule: v.rule.name, file: v.from })),
        ...textViolations(dir),
      ].map(({ rule, file }) => `${rule} ${file}`),
    );
    const rules = [...config.forbidden.map((rule) => rule.name), ...textWalls.map(([name]) => name)];
    const planted = new Map(
      [...plants, ...textPlants].map(([rule, file]) => [rule, file.replace('%', `planted-${rule}`)]),
    );
    // A cycle is reported once, from either of its two files: `planted-no-circular.ts` or `planted-no-circular-b.ts`.
    const isSeen = (rule) =>
      [...seen].some((hit) => hit.startsWith(`${rule} ${planted.get(rule)?.replace(/\.ts$/, '')}`));
    return rules.filter((rule) => !isSeen(rule));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const real = cruise(root);
const violations = [
  ...real.violations.map((v) => `${v.rule.name}: ${v.from} → ${v.to}`),
  ...textViolations(root).map((v) => `${v.rule}: ${v.file}`),
];
for (const violation of violations) console.error(`wall: ${violation}`);
if (real.totalCruised < moduleFloor) violations.push('floor');
if (real.totalCruised < moduleFloor)
  console.error(`wall: only ${real.totalCruised} modules were scanned, expected ${moduleFloor} or more`);
const blind = selfTest();
for (const rule of blind) console.error(`wall: the planted violation of ${rule} was not seen`);
console.error(
  `walls: ${real.totalCruised} modules, ${config.forbidden.length + textWalls.length} rules, ${violations.length} violations, ${blind.length} blind rules`,
);
process.exit(violations.length + blind.length === 0 ? 0 : 1);
