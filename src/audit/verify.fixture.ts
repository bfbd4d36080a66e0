/**
 * Trails for tests of what verifies and keeps them: built line by line with the functions of `chain.ts`, in any shape that is wanted.
 */

import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { AuditKey } from '../keys.ts'
import { type Anchor, type Anchors, type ChainHead, genesis, hashLine, lineForm, linePrefix, signCheckpoint } from './chain.ts'
import type { AuditEvent } from './event.ts'
import { formatAuditLine } from './line.ts'

/** A key pair under a name. */
export function createTestAuditKey(kid = 'key-1'): AuditKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { kid, privateKey, publicKey: String(publicKey.export({ format: 'jwk' }).x) }
}

/** Writes a chain the way the writer does, but with a clock and segments in the hands of the test. */
export interface ChainBuilder {
  readonly chain: string
  head(): ChainHead
  segment(): number
  /** Epoch milliseconds of the next line; every line takes a millisecond. */
  setClock(at: number): void
  add(event: AuditEvent): void
  decisions(count: number): void
  checkpoint(): void
  /** Ends the segment with a checkpoint; the next line begins another one. */
  endSegment(): void
  /** Ends the segment as a process that was killed does. */
  breakOff(): void
  /** Goes on behind another line than the last one. */
  continueAfter(head: ChainHead, segment: number): void
  anchor(): Anchor
}

/** A chain in `folder` that has no line yet. */
export function buildChain(folder: string, chain: string, key: AuditKey, startAt = Date.UTC(2026, 0, 1)): ChainBuilder {
  let head: ChainHead = { seq: 0, hash: genesis }
  let segment = 1
  let at = startAt
  let lines: string[] = []
  let written = 0
  const instance = 'host'
  mkdirSync(join(folder, chain), { recursive: true })
  const path = () => join(folder, chain, `${String(segment).padStart(8, '0')}.ndjson`)

  const push = (event: AuditEvent) => {
    at += 1
    const line = formatAuditLine(event, at, instance, linePrefix(head.seq + 1, head.hash))
    head = { seq: head.seq + 1, hash: hashLine(line.slice(0, -1)) }
    lines.push(line)
    if (lines.length >= 10_000) flush()
  }
  const flush = () => {
    writeFileSync(path(), lines.join(''), { flag: 'a' })
    written += lines.length
    lines = []
  }
  const add = (event: AuditEvent) => {
    const isNew = written + lines.length === 0
    if (isNew) push({ event: 'audit.segment_started', chain, segment, form: lineForm, key: key.kid, publicKey: key.publicKey })
    push(event)
  }
  const checkpoint = () => {
    const claim = { chain, instance, seq: head.seq + 1, prev: head.hash, at: new Date(at + 1).toISOString() }
    add({ event: 'audit.checkpoint', chain, key: key.kid, signature: signCheckpoint(claim, key.privateKey) })
    flush()
  }
  const breakOff = () => {
    flush()
    written = 0
    segment += 1
  }

  return {
    chain,
    head: () => head,
    segment: () => segment,
    setClock: (to) => {
      at = to
    },
    add,
    decisions(count) {
      for (let index = 0; index < count; index++) add(decision(head.seq))
    },
    checkpoint,
    endSegment() {
      checkpoint()
      breakOff()
    },
    breakOff,
    continueAfter(newHead, newSegment) {
      head = newHead
      segment = newSegment
    },
    anchor: () => ({ chain, ...head, segment, at }),
  }
}

/** A line about a request, some six hundred bytes long. */
export function decision(index: number): AuditEvent {
  return {
    event: 'access.decided',
    request: `request-${index}`,
    subject: {
      kind: 'person',
      issuer: 'https://login.corp.example/realms/corp',
      sub: `user-${index % 50}`,
      email: `user${index % 50}@corp.example`,
    },
    session: `session-${index % 50}`,
    app: 'wiki',
    host: 'wiki.corp.example',
    method: 'GET',
    path: `/pages/${'x'.repeat(index % 80)}`,
    query: undefined,
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    policy: 'sha256-0123456789abcdef',
    address: '192.0.2.1',
    userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36',
    claimsAt: 1_800_000_000_000,
    claimsState: 'fresh',
  }
}

/** Anchors in memory. */
export function createMemoryAnchors(saved: readonly Anchor[] = []): Anchors & { readonly all: Map<string, Anchor> } {
  const all = new Map(saved.map((anchor) => [anchor.chain, anchor]))
  return {
    all,
    load: async (chain) => all.get(chain),
    save: async (anchor) => void all.set(anchor.chain, anchor),
    remove: async (chain) => void all.delete(chain),
    async *list() {
      yield* all.values()
    },
  }
}

/** The bytes of a segment, whichever form it has. */
export function readSegment(path: string): Buffer {
  return path.endsWith('.zst') ? zstdDecompressSync(readFileSync(path)) : readFileSync(path)
}

/** Puts other bytes in place of a segment's, in the form that its name says. */
export function writeSegment(path: string, bytes: Buffer): void {
  writeFileSync(path, path.endsWith('.zst') ? zstdCompressSync(bytes) : bytes)
}
