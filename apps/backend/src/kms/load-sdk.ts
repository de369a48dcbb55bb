import { KontextError } from '@kontext/errors';

/**
 * Loads the SDK of a key service, which is installed only where it is used.
 *
 * @param name Its package.
 * @param load Imports it; written out where it is called, so that the compiler knows its types.
 * @throws KontextError `KX_CONFIG_INVALID` naming the command that installs it.
 */
export async function loadSdk<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw new KontextError('KX_CONFIG_INVALID', `KONTEXT_KMS_KEYS needs the package ${name}`, {
      why: 'it cannot be loaded',
      hint: `install it beside the backend: \`npm install ${name}\` (with -g if the backend is global)`,
      cause,
    });
  }
}
