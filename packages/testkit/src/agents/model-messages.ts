import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** One request that the model server got; `body` is the parsed JSON, or null. */
export interface ModelRequest {
  readonly method: string;
  /** With the query string. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: ModelRequestBody | null;
}

/** The part of a Messages API request that scripts and tests look at. */
export interface ModelRequestBody {
  readonly model?: string;
  readonly stream?: boolean;
  readonly system?: unknown;
  readonly messages?: readonly { readonly role: string; readonly content: unknown }[];
  readonly tools?: readonly { readonly name: string }[];
}

/** A tool that the model asks the agent to use. `id` becomes `tool_use_id`; made up when absent. */
export interface ToolUse {
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly id?: string;
}

/** One answer of the scripted model: text first, then tool uses; any tool use means that the conversation goes on. */
export interface ModelTurn {
  readonly text?: string;
  readonly toolUses?: readonly ToolUse[];
  /** Runs before the answer is sent; the answer waits for it. For tests that look at the world between two turns. */
  readonly before?: (request: ModelRequest) => Promise<void> | void;
  /** Answer with this HTTP status and an API error instead. */
  readonly status?: number;
}

type ContentBlock =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'tool_use'; readonly id: string; readonly name: string; readonly input: unknown };

function contentOf(turn: ModelTurn): readonly ContentBlock[] {
  const tools = (turn.toolUses ?? []).map((use): ContentBlock => {
    return {
      type: 'tool_use',
      id: use.id ?? `toolu_${randomBytes(12).toString('hex')}`,
      name: use.name,
      input: use.input,
    };
  });
  const text = turn.text ?? (tools.length === 0 ? 'done' : '');
  return text === '' ? tools : [{ type: 'text', text }, ...tools];
}

function stopReason(turn: ModelTurn): string {
  return (turn.toolUses?.length ?? 0) > 0 ? 'tool_use' : 'end_turn';
}

/** The answer as one JSON message (`stream: false`). */
export function encodeMessageJson(model: string, turn: ModelTurn): Readonly<Record<string, unknown>> {
  return {
    id: `msg_${randomBytes(12).toString('hex')}`,
    type: 'message',
    role: 'assistant',
    model,
    content: contentOf(turn),
    stop_reason: stopReason(turn),
    stop_sequence: null,
    usage: { input_tokens: 10, output_tokens: 10 },
  };
}

/** The same answer as server-sent events, in the order the Messages API documents: start, blocks, delta, stop. */
export function encodeMessageStream(model: string, turn: ModelTurn): string {
  const message = encodeMessageJson(model, turn);
  const content = message.content as readonly ContentBlock[];
  const start = { ...message, content: [], stop_reason: null, usage: { input_tokens: 10, output_tokens: 1 } };
  const events = [
    { type: 'message_start', message: start },
    ...content.flatMap((block, index) => encodeBlock(block, index)),
    {
      type: 'message_delta',
      delta: { stop_reason: message.stop_reason, stop_sequence: null },
      usage: { output_tokens: 10 },
    },
    { type: 'message_stop' },
  ];
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
}

function encodeBlock(block: ContentBlock, index: number): readonly { readonly type: string }[] {
  const isText = block.type === 'text';
  const opening = isText ? { type: 'text', text: '' } : { ...block, input: {} };
  const delta = isText
    ? { type: 'text_delta', text: block.text }
    : { type: 'input_json_delta', partial_json: JSON.stringify(block.input) };
  return [
    { type: 'content_block_start', index, content_block: opening } as { type: string },
    { type: 'content_block_delta', index, delta } as { type: string },
    { type: 'content_block_stop', index } as { type: string },
  ];
}
