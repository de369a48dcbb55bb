import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { RunCommand } from '../context.ts';
import { loadTemplate, reportProblems } from '../session/load-template.ts';
import { refuseNested } from '../session/refuse-nested.ts';
import { describeTemplate, openTrustStore } from '../session/trust-store.ts';

/** `kontext trust [file]` */
export function define(command: Command, run: RunCommand): void {
  command.argument('[file]', 'env template').action((file: string | undefined) =>
    run({}, async ({ config, terminal }) => {
      refuseNested(config, 'trust');
      const path = file === undefined ? config.envFile : resolve(config.cwd, file);
      const template = loadTemplate(path);
      reportProblems(template, path, terminal, false);
      for (const line of describeTemplate(template)) terminal.note(line);
      openTrustStore(config).trust(path, template);
      terminal.note(`trusted ${path}`);
      return 0;
    }),
  );
}
