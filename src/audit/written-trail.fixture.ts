/** Trails as files, written line by line as the trail writes them: for tests of whoever reads them. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { genesis, hashLine, linePrefix } from './chain.ts'
import type { AuditEvent } from './event.ts'
import { formatAuditLine } from './line.ts'

type Decided = Extract<AuditEvent, { event: 'access.decided' }>

/** A fresh folder as `data_dir/audit` is. */
export interface WrittenTrail {
  readonly folder: string
  /** A chain of its own, to which segments are added in order. */
  chain(name: string): WrittenChain
  remove(): void
}

export interface WrittenChain {
  /** The next segment; begins with its own first line at the instant of the first event. Returns its number. */
  segment(events: readonly (readonly [at: number, event: AuditEvent])[], isCompressed?: boolean): number
}

/** An empty trail in a temporary folder. */
export function createWrittenTrail(): WrittenTrail {
  const folder = mkdtempSync(join(tmpdir(), 'postern-written-'))
  return {
    folder,
    chain(name) {
      let head = { seq: 0, hash: genesis }
      let number = 0
      return {
        segment(events, isCompressed = false) {
          number += 1
          const first: AuditEvent = { event: 'audit.segment_started', chain: name, segment: number, form: 1, key: 'k1', publicKey: 'AAAA' }
          const text = [[events[0]?.[0] ?? 0, first] as const, ...events].map(([at, event]) => {
            const line = formatAuditLine(event, at, name, linePrefix(head.seq + 1, head.hash))
            head = { seq: head.seq + 1, hash: hashLine(line.slice(0, -1)) }
            return line
          })
          mkdirSync(join(folder, name), { recursive: true })
          const path = join(folder, name, `${String(number).padStart(8, '0')}.ndjson`)
          if (isCompressed) writeFileSync(`${path}.zst`, zstdCompressSync(text.join('')))
          else writeFileSync(path, text.join(''))
          return number
        },
      }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** A decision about somebody; what a test is about is given. */
export function decided(request: string, changes: Partial<Decided> = {}): Decided {
  return {
    event: 'access.decided',
    request,
    subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1', email: 'Ada@corp.example' },
    session: 's1',
    app: 'wiki',
    host: 'wiki.corp.example',
    method: 'GET',
    path: '/pages/1',
    query: undefined,
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    policy: 'sha256-0',
    address: '192.0.2.1',
    userAgent: 'test',
    claimsAt: 0,
    claimsState: 'fresh',
    ...changes,
  }
}
