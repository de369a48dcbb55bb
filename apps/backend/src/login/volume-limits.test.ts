import { KontextError } from '@kontext/errors';
import { describe, expect, it } from 'vitest';
import { createVolumeLimiter } from './volume-limits.ts';

const alice = { userId: 'usr_a', orgId: 'org_1' };
const bob = { userId: 'usr_b', orgId: 'org_1' };
const carol = { userId: 'usr_c', orgId: 'org_2' };

describe('limits of volume', () => {
  const start = (limits = { rpc: 60, exchange: 6, events: 600 }) => {
    let now = 1_000_000;
    const limiter = createVolumeLimiter(limits, () => now);
    const countUntilRefused = (work: () => void, most = 10_000): number => {
      for (let done = 0; done < most; done += 1) {
        try {
          work();
        } catch (error) {
          expect(error).toBeInstanceOf(KontextError);
          expect(error).toMatchObject({ code: 'KX_RATE_LIMITED' });
          return done;
        }
      }
      return most;
    };
    return { limiter, countUntilRefused, advance: (ms: number) => (now += ms) };
  };

  it('lets a burst of a minute through, then so many as time gives back', () => {
    const { limiter, countUntilRefused, advance } = start();
    const call = () => limiter.countCall('rpc', alice);
    expect(countUntilRefused(call)).toBe(60);
    advance(5000);
    expect(countUntilRefused(call)).toBe(5);
    advance(3_600_000);
    expect(countUntilRefused(call)).toBe(60);
  });

  it('says how long to wait', () => {
    const { limiter, countUntilRefused } = start();
    countUntilRefused(() => limiter.countCall('exchange', alice));
    expect(() => limiter.countCall('exchange', alice)).toThrow(
      expect.objectContaining({ details: { retry_after_seconds: 10 } }),
    );
  });

  it('counts people apart, and kinds apart', () => {
    const { limiter, countUntilRefused } = start();
    countUntilRefused(() => limiter.countCall('rpc', alice));
    expect(countUntilRefused(() => limiter.countCall('rpc', bob))).toBe(60);
    expect(countUntilRefused(() => limiter.countCall('exchange', alice))).toBe(6);
    expect(countUntilRefused(() => limiter.countCall('events', alice))).toBe(600);
  });

  it('gives an organisation ten times what a person has, and no other pays for it', () => {
    const { limiter, countUntilRefused } = start();
    let person = 0;
    expect(
      countUntilRefused(() => limiter.countCall('rpc', { userId: `usr_${person++ >> 4}`, orgId: 'org_1' })),
    ).toBe(600);
    expect(countUntilRefused(() => limiter.countCall('rpc', carol))).toBe(60);
  });

  it('takes 0 for no limit', () => {
    const { limiter, countUntilRefused } = start({ rpc: 0, exchange: 0, events: 0 });
    expect(countUntilRefused(() => limiter.countCall('rpc', alice))).toBe(10_000);
    expect(countUntilRefused(() => limiter.countExchange('key'))).toBe(10_000);
    expect(countUntilRefused(() => limiter.countTokenRequest('192.0.2.1'))).toBe(10_000);
  });

  it('keeps limiting whoever floods it with other names', () => {
    const { limiter, countUntilRefused, advance } = start();
    countUntilRefused(() => limiter.countExchange('key'));
    for (let i = 0; i < 15_000; i += 1) limiter.countTokenRequest(`192.0.2.${i}`);
    advance(1000);
    for (let i = 0; i < 6_000; i += 1) limiter.countTokenRequest(`198.51.100.${i}`);
    expect(countUntilRefused(() => limiter.countExchange('key'))).toBe(0);
  });

  it('is not confused by a clock that goes back', () => {
    const { limiter, countUntilRefused, advance } = start();
    countUntilRefused(() => limiter.countCall('rpc', alice));
    advance(-3_600_000);
    expect(countUntilRefused(() => limiter.countCall('rpc', alice))).toBe(0);
    advance(1000);
    expect(countUntilRefused(() => limiter.countCall('rpc', alice))).toBe(1);
  });
});
