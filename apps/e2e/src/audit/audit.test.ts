/** The audit log through the built programs, on both databases: found, counted, traced, erased, sent on. */
import { afterAll, beforeAll, describe, it } from 'vitest';
import { databaseKinds } from '../databases.ts';
import { type AuditStage, openAuditStage } from './audit-stage.ts';
import { tellCoverageStory } from './coverage-story.ts';
import { tellErasureStory } from './erasure-story.ts';
import { tellKindsStory } from './kinds-story.ts';
import { tellLineageStory } from './lineage-story.ts';
import { tellOffersStory, tellPeopleStory } from './people-story.ts';
import { tellSearchStory } from './search-story.ts';
import { tellSinkStory } from './sink-story.ts';
import { tellTroubleStory } from './trouble-story.ts';

describe.each(databaseKinds)('the audit log on %s %s', (kind, skipped) => {
  if (skipped !== '') return it.skip(skipped);
  let opened: AuditStage | null = null;
  beforeAll(async () => {
    opened = await openAuditStage(kind);
  });
  afterAll(() => opened?.close());
  const stage = (): AuditStage => {
    if (opened === null) throw new Error('the stage did not open');
    return opened;
  };

  // In this order: a search finds what is erased later, and the clock is moved at the end.
  describe('a sink', () => tellSinkStory(stage));
  describe('a search', () => tellSearchStory(stage));
  describe('what was found', () => tellLineageStory(stage));
  describe('an erasure', () => tellErasureStory(stage));
  describe('an agent', () => tellKindsStory(stage));
  describe('a change of people', () => tellPeopleStory(stage));
  describe('an offer', () => tellOffersStory(stage));
  describe('a sink in trouble', () => tellTroubleStory(stage));
  describe('a log at its end', () => tellCoverageStory(stage));
});
