/**
 * What a command and a running instance say to each other over the control socket: frames, values, and the list of operations.
 *
 * A frame is four bytes of length (big endian) and that much JSON. A request is `{op, args}`, its answer `{result}` or `{error}`, in
 * order. Bytes are `{bytes: base64}` and what is absent is `null`. Each operation is one of `SessionStore`, named in a closed table
 * with the form of every argument; names in it are names in the store, and none is ever a path. Anything else is refused.
 */

import type { SessionStore } from '../session/store.ts'

/** What may be asked: every method of the store but closing it and listening, and handing over an audit event. */
export type Operation = Exclude<keyof SessionStore, 'close' | 'openEvents'> | 'recordEvent'

/** Larger than any record: the largest are sessions with their tokens, and policy documents. */
export const mostRequestBytes = 4 * 1024 * 1024

/** Larger than a batch of the largest records, or an index of a hundred thousand members. */
export const mostAnswerBytes = 64 * 1024 * 1024

/** The peer does not keep to the protocol; the connection is over. */
export class ProtocolFault extends Error {}

/** Tells whether a decoded argument has its form. */
type Form = (value: unknown) => boolean

const isText: Form = (value) => typeof value === 'string' && value.length <= 2048
const isWhole: Form = (value) => Number.isSafeInteger(value)
const isNumber: Form = (value) => typeof value === 'number' && Number.isFinite(value)
const isBytes: Form = (value) => Buffer.isBuffer(value)
const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value)
const hasShape =
  (shape: Readonly<Record<string, Form>>): Form =>
  (value) =>
    isMap(value) &&
    Object.keys(value).length === Object.keys(shape).length &&
    Object.entries(shape).every(([name, form]) => Object.hasOwn(value, name) && form(value[name]))
const isListOf =
  (form: Form): Form =>
  (value) =>
    Array.isArray(value) && value.length <= 100_000 && value.every(form)
const isOptional =
  (form: Form): Form =>
  (value) =>
    value === undefined || form(value)
const eventKinds: readonly unknown[] = ['locks', 'session', 'device', 'errand', 'policy', 'invitations']
const isEventKind: Form = (value) => eventKinds.includes(value)
const isBatchSize: Form = (value) => isWhole(value) && Number(value) > 0 && Number(value) <= 1_000

const operations: Readonly<Record<Operation, readonly Form[]>> = {
  loadNow: [],
  createRecord: [isText, isBytes, isNumber],
  loadRecord: [isText],
  replaceRecord: [isText, hasShape({ value: isBytes, version: isWhole, expiresAt: isNumber })],
  takeRecord: [isText],
  removeRecord: [isText],
  addToIndex: [isText, isText, isNumber],
  removeFromIndex: [isText, isText],
  loadIndex: [isText],
  recordEnds: [isListOf(hasShape({ kind: isText, idHash: isText, cause: isText })), isNumber],
  loadEnds: [isListOf(hasShape({ kind: isText, idHash: isText }))],
  loadAllEnds: [],
  restoreEnds: [isListOf(hasShape({ kind: isText, idHash: isText, at: isWhole, cause: isText })), isNumber],
  publish: [hasShape({ kind: isEventKind, detail: isText })],
  acquireLock: [isText, isNumber],
  renewLock: [isText, isText, isNumber],
  releaseLock: [isText, isText],
  createDurable: [isText, isBytes],
  loadDurable: [isText],
  replaceDurable: [isText, hasShape({ value: isBytes, version: isWhole })],
  removeDurable: [isText, isOptional(isWhole)],
  listDurable: [isOptional(isText), isOptional(isText), isBatchSize],
  confirmDurable: [],
  appendWindow: [hasShape({ position: isText, value: isBytes, entries: isWhole }), isWhole],
  listWindow: [isOptional(isText), isBatchSize],
  checkReady: [],
  recordEvent: [isMap],
}

/** A request that keeps to the table. */
export interface Request {
  readonly op: Operation
  /** In number and form as the operation takes them. */
  readonly args: readonly unknown[]
}

/** The request in a frame; `undefined` for an operation that there is not, or arguments that are not its own. */
export function parseRequest(frame: unknown): Request | undefined {
  if (!isMap(frame)) return undefined
  const { op, args } = frame
  if (typeof op !== 'string' || !isOperation(op) || !Array.isArray(args)) return undefined
  const forms = operations[op]
  return args.length === forms.length && forms.every((form, position) => form(args[position])) ? { op, args } : undefined
}

function isOperation(name: string): name is Operation {
  return Object.hasOwn(operations, name)
}

/** One frame; `content` in the protocol's JSON. */
export function writeFrame(content: unknown, mostBytes: number): Buffer {
  const text = Buffer.from(JSON.stringify(encode(content)))
  if (text.length > mostBytes) throw new ProtocolFault('a frame is too large')
  const frame = Buffer.allocUnsafe(4 + text.length)
  frame.writeUInt32BE(text.length)
  text.copy(frame, 4)
  return frame
}

/** The frames of a stream, decoded, one after the other. Throws `ProtocolFault` before a frame that is too large is read. */
export async function* readFrames(stream: AsyncIterable<Buffer>, mostBytes: number): AsyncGenerator<unknown> {
  let chunks: Buffer[] = []
  let length = 0
  let expected: number | undefined
  for await (const chunk of stream) {
    chunks.push(chunk)
    length += chunk.length
    for (;;) {
      if (length < (expected ?? 4)) break
      let bytes = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)
      if (expected === undefined) {
        expected = bytes.readUInt32BE()
        if (expected > mostBytes) throw new ProtocolFault('a frame is too large')
        bytes = bytes.subarray(4)
      } else {
        yield decodeText(bytes.toString('utf8', 0, expected))
        bytes = bytes.subarray(expected)
        expected = undefined
      }
      chunks = [bytes]
      length = bytes.length
    }
  }
}

function encode(value: unknown): unknown {
  if (value === undefined || value === null) return null
  if (Buffer.isBuffer(value)) return { bytes: value.toString('base64') }
  if (Array.isArray(value)) return value.map(encode)
  if (typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, encode(field)]))
  return value
}

function decodeText(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message would repeat what was sent.
    throw new ProtocolFault('a frame is not JSON')
  }
  return decode(value, 0)
}

/** No value of the protocol is deeper than an argument's record in a list; the bound keeps a stranger off the stack. */
function decode(value: unknown, depth: number): unknown {
  if (depth > 6) throw new ProtocolFault('a frame is nested too deep')
  if (value === null) return undefined
  if (Array.isArray(value)) return value.map((entry) => decode(entry, depth + 1))
  if (typeof value !== 'object') return value
  const entries = Object.entries(value)
  const [first] = entries
  if (entries.length === 1 && first !== undefined && first[0] === 'bytes' && typeof first[1] === 'string')
    return Buffer.from(first[1], 'base64')
  return Object.fromEntries(entries.map(([name, field]) => [name, decode(field, depth + 1)]))
}
