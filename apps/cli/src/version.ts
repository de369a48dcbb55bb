declare const __KONTEXT_VERSION__: string | undefined;

/** Version of this command; written in by the build. */
export const cliVersion: string =
  typeof __KONTEXT_VERSION__ === 'string' ? __KONTEXT_VERSION__ : '0.0.0-source';
