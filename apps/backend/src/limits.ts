/** What is counted apart: uploads of audit events come in bursts, exchanges cost most. */
export type VolumeKind = 'rpc' | 'exchange' | 'events';

/** Requests of one person per minute, by kind; 0 means no limit. An organisation may have ten times as many. */
export type VolumeLimits = Readonly<Record<VolumeKind, number>>;

/** What applies when nothing is set. */
export const defaultVolumeLimits: VolumeLimits = { rpc: 1200, exchange: 600, events: 60_000 };

/** MiB of audit exports that an organisation keeps at a time when nothing is set: two of the largest there can be. */
export const defaultExportMib = 8192;
