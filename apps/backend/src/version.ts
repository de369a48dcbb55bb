declare const __KONTEXT_VERSION__: string;

/** Version of this build; the bundler puts it in. */
export const version: string = typeof __KONTEXT_VERSION__ === 'string' ? __KONTEXT_VERSION__ : '0.0.0-dev';
