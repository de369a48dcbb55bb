/** The one part of it that is used; it ships no types. */
declare module 'pg-copy-streams' {
  import type { Submittable } from 'pg';

  /** `COPY … FROM STDIN`: write the rows into it. */
  export function from(statement: string): Submittable & NodeJS.WritableStream;
}
