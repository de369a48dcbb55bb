import { customType, timestamp } from 'drizzle-orm/pg-core';

/** Raw bytes. `pg` gives a Buffer, PGlite a Uint8Array; outside the store it is always a Buffer. */
export const bytea = customType<{ data: Buffer; driverData: Uint8Array }>({
  dataType: () => 'bytea',
  fromDriver: (value) => (Buffer.isBuffer(value) ? value : Buffer.from(value)),
});

/** An instant, stored with time zone, millisecond precision, read as Date. */
export const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date', precision: 3 });
