/** Verification of trails: what it accepts, what it finds, and that it names the right place. */

import { copyFileSync, cpSync, mkdtempSync, readFileSync, renameSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Anchor } from './chain.ts'
import { buildChain, createTestAuditKey, readSegment, writeSegment } from './verify.fixture.ts'
import { verifyChain, verifyTrail } from './verify.ts'
import type { ChainVerdict } from './verify-verdict.ts'

const key = createTestAuditKey()
const keys = new Map([[key.kid, key.publicKey]])
const chain = 'host-0'

describe('a verification', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-verify-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const segmentPath = (number: number, of = chain) => join(folder, of, `${String(number).padStart(8, '0')}.ndjson`)

  /** Three segments of 51, 51 and 42 lines; checkpoints in the middle and at the end. */
  function build(name = chain, signer = key): Anchor {
    const builder = buildChain(folder, name, signer)
    for (let segment = 0; segment < 2; segment++) {
      builder.decisions(24)
      builder.checkpoint()
      builder.decisions(24)
      builder.endSegment()
    }
    builder.decisions(40)
    builder.checkpoint()
    return builder.anchor()
  }
  const verify = (anchor?: Anchor | 'unread', of = chain) => verifyChain({ folder, chain: of, keys, anchor })

  function editLines(number: number, edit: (lines: string[]) => unknown): void {
    const path = segmentPath(number)
    const lines = readFileSync(path, 'utf8').split('\n')
    edit(lines)
    writeFileSync(path, lines.join('\n'))
  }
  const places = ({ findings }: ChainVerdict) => findings.map(({ file, kind, line }) => `${kind} ${file.slice(-15, -7)}:${line}`)

  it('accepts a whole trail, and calls it complete only with an anchor', async () => {
    const anchor = build()
    expect(await verify(anchor)).toMatchObject({
      lines: 144,
      segments: 3,
      firstSeq: 1,
      lastSeq: 144,
      signedThrough: 144,
      anchored: 'reached',
      findings: [],
    })
    expect(await verify()).toMatchObject({ anchored: 'none', findings: [] })
    expect(await verify('unread')).toMatchObject({ anchored: 'unread', findings: [] })
  })

  it('tells lines that are chained from those that are signed', async () => {
    const builder = buildChain(folder, chain, key)
    builder.decisions(10)
    builder.checkpoint()
    const anchor = builder.anchor()
    builder.decisions(5)
    builder.breakOff()
    expect(await verify(anchor)).toMatchObject({ lastSeq: 17, signedThrough: 12, anchored: 'reached', findings: [] })
    // What no signature covers may be cut off, and no anchor tells.
    editLines(1, (lines) => lines.splice(13, 4))
    expect(await verify(anchor)).toMatchObject({ lastSeq: 13, signedThrough: 12, findings: [] })
  })

  it('does not mind half a line at the very end, and says how long it is', async () => {
    const anchor = build()
    writeFileSync(segmentPath(3), '{"seq":145,"prev":"', { flag: 'a' })
    expect(await verify(anchor)).toMatchObject({ tornBytes: 19, lines: 144, findings: [] })
  })

  const single: readonly [what: string, edit: (lines: string[]) => unknown, found: string][] = [
    ['a changed line', (lines) => lines.splice(9, 1, lines[9]?.replace('"allow"', '"denyy"') ?? ''), 'changed 00000002:10'],
    ['a line with another number', (lines) => lines.splice(9, 1, lines[9]?.replace('"seq":61', '"seq":67') ?? ''), 'changed 00000002:10'],
    [
      'a line with another prev',
      (lines) => lines.splice(9, 1, lines[9]?.replace(/"prev":"..../, '"prev":"AAAA') ?? ''),
      'changed 00000002:10',
    ],
    ['a line whose beginning is broken', (lines) => lines.splice(9, 1, `x${lines[9]}`), 'changed 00000002:10'],
    ['a line torn into two', (lines) => lines.splice(9, 1, `${lines[9]?.slice(0, 200)}\n${lines[9]?.slice(200)}`), 'changed 00000002:10'],
    ['two lines made one', (lines) => void lines.splice(9, 2, `${lines[9]} ${lines[10]}`), 'removed 00000002:11'],
    ['a removed line', (lines) => void lines.splice(9, 1), 'removed 00000002:10'],
    ['several removed lines', (lines) => void lines.splice(9, 5), 'removed 00000002:10'],
    ['an inserted line', (lines) => void lines.splice(9, 0, '{"seq":61,"prev":"x","at":"2026"}'), 'inserted 00000002:10'],
    ['an empty line', (lines) => void lines.splice(9, 0, ''), 'inserted 00000002:10'],
    ['an inserted line that fits', (lines) => void lines.splice(9, 0, lines[9]?.replace('"GET"', '"POST"') ?? ''), 'inserted 00000002:10'],
    ['a line that stands there twice', (lines) => void lines.splice(9, 0, lines[8] ?? ''), 'duplicated 00000002:10'],
    ['a copy of a line from before', (lines) => void lines.splice(9, 0, lines[3] ?? ''), 'duplicated 00000002:10'],
    ['two neighbours in the wrong order', (lines) => void lines.splice(9, 2, lines[10] ?? '', lines[9] ?? ''), 'reordered 00000002:10'],
    ['a changed checkpoint', (lines) => lines.splice(25, 1, lines[25]?.replace('checkpoint', 'checkpoinx') ?? ''), 'changed 00000002:26'],
    [
      'a changed signature',
      (lines) => lines.splice(25, 1, lines[25]?.replace(/"signature":"..../, '"signature":"AAAA') ?? ''),
      'changed 00000002:26',
    ],
  ]
  it.each(single)('finds %s and names it', async (_, edit, found) => {
    const anchor = build()
    editLines(2, edit)
    const verdict = await verify(anchor)
    expect(places(verdict)).toEqual([found])
    expect(verdict.anchored).toBe('reached')
  })

  it('finds two lines that changed places, at both places', async () => {
    const anchor = build()
    editLines(2, (lines) => {
      const [one = '', two = ''] = [lines[5], lines[30]]
      lines[5] = two
      lines[30] = one
    })
    expect(places(await verify(anchor))).toEqual(['reordered 00000002:6', 'reordered 00000002:31'])
  })

  it('finds each of several changes', async () => {
    const anchor = build()
    editLines(1, (lines) => lines.splice(9, 1, lines[9]?.replace('"allow"', '"denyy"') ?? ''))
    editLines(2, (lines) => void lines.splice(9, 1))
    editLines(3, (lines) => void lines.splice(20, 0, ''))
    expect(places(await verify(anchor))).toEqual(['changed 00000001:10', 'removed 00000002:10', 'inserted 00000003:21'])
  })

  it('finds a change of the very last line, by its signature and without an anchor', async () => {
    for (const [from, to] of [
      ['"host"', '"hosT"'],
      ['"at":"2026', '"at":"2025'],
      ['"key":', '"kex":'],
      ['"signature":"', '"signature": "'],
      [chain, 'host-1'],
    ] as const) {
      rmSync(join(folder, chain), { recursive: true, force: true })
      build()
      editLines(3, (lines) => lines.splice(41, 1, lines[41]?.replace(from, to) ?? ''))
      expect((await verify()).findings, from).toMatchObject([{ line: 42, seq: 144 }])
    }
  })

  it('takes no other text of the same signature', async () => {
    build()
    const { findings } = await verify()
    expect(findings).toEqual([])
    editLines(3, (lines) => {
      // The last character of sixty-four bytes has four bits to spare.
      lines[41] = lines[41]?.replace(/(.)"\}$/, (_, last: string) => `${String.fromCharCode(last.charCodeAt(0) + 1)}"}`) ?? ''
    })
    expect(places(await verify())).toEqual(['changed 00000003:42'])
  })

  it('finds what was removed at the end by the anchor alone', async () => {
    const anchor = build()
    editLines(3, (lines) => lines.splice(30, 12))
    expect(places(await verify(anchor))).toEqual(['cut_off 00000003:31'])
    expect(await verify()).toMatchObject({ findings: [], anchored: 'none', signedThrough: 102, lastSeq: 132 })
    unlinkSync(segmentPath(3))
    expect(places(await verify(anchor))).toEqual(['cut_off 00000002:52'])
    rmSync(join(folder, chain), { recursive: true })
    const trail = await verifyTrail({ folders: [folder], keys, anchors: new Map([[chain, anchor]]), isExpected: () => true })
    expect(trail.chains.map(({ findings }) => findings[0]?.kind)).toEqual(['chain_missing'])
    expect(await verifyTrail({ folders: [folder], keys, anchors: new Map([[chain, anchor]]) })).toMatchObject({
      elsewhere: [chain],
      isVerified: false,
    })
  })

  it('finds a file that was truncated, wherever it is', async () => {
    const anchor = build()
    truncateSync(segmentPath(2), readFileSync(segmentPath(2)).length - 100)
    expect(places(await verify(anchor))).toEqual(['torn 00000002:51', 'removed 00000003:1'])
    truncateSync(segmentPath(3), 5000)
    expect(places(await verify(anchor)).at(-1)).toMatch(/^cut_off 00000003/)
  })

  it('finds a segment that is missing, and one that was put in place of another', async () => {
    const anchor = build()
    const whole = join(folder, '..', `${folder.split('/').at(-1)}-kept`)
    cpSync(folder, whole, { recursive: true })
    try {
      unlinkSync(segmentPath(2))
      expect(places(await verify(anchor))).toEqual(['removed 00000003:1'])
      copyFileSync(join(whole, chain, '00000001.ndjson'), segmentPath(2))
      expect(places(await verify(anchor))).toContain('duplicated 00000002:1')
      copyFileSync(join(whole, chain, '00000003.ndjson'), segmentPath(2))
      expect((await verify(anchor)).findings[0]).toMatchObject({ line: 1, file: segmentPath(2) })
      build('host-1')
      copyFileSync(segmentPath(2, 'host-1'), segmentPath(2))
      expect((await verify(anchor)).findings[0]).toMatchObject({ line: 1, file: segmentPath(2) })
      unlinkSync(segmentPath(1))
      copyFileSync(join(whole, chain, '00000002.ndjson'), segmentPath(2))
      expect(places(await verify(anchor))).toEqual(['beginning_missing 00000002:1'])
    } finally {
      rmSync(whole, { recursive: true })
    }
  })

  it('finds a chain that goes by another name', async () => {
    const anchor = build('host-1')
    renameSync(join(folder, 'host-1'), join(folder, chain))
    const { findings } = await verify({ ...anchor, chain })
    expect(findings.map(({ kind }) => kind)).toEqual([
      'misplaced',
      'bad_signature',
      'bad_signature',
      'misplaced',
      'bad_signature',
      'bad_signature',
      'misplaced',
      'bad_signature',
    ])
  })

  it('is not deceived by somebody who hangs everything together again without the key', async () => {
    const anchor = build()
    const mallory = createTestAuditKey(key.kid)
    rmSync(join(folder, chain), { recursive: true })
    build(chain, mallory)
    expect((await verify()).findings[0]).toMatchObject({ kind: 'unknown_key', line: 1 })
    const other = createTestAuditKey('key-of-mallory')
    rmSync(join(folder, chain), { recursive: true })
    build(chain, other)
    expect((await verify()).findings.every(({ kind }) => kind === 'unknown_key')).toBe(true)
    expect((await verify(anchor)).anchored).toBe('missed')
  })

  it('finds by the anchor what was rewritten with the key itself', async () => {
    const anchor = build()
    rmSync(join(folder, chain), { recursive: true })
    const builder = buildChain(folder, chain, key)
    builder.decisions(200)
    builder.checkpoint()
    expect(await verify(anchor)).toMatchObject({ anchored: 'missed', findings: [{ kind: 'anchor_differs', seq: 144 }] })
  })

  it('finds a trail from which the checkpoints were left out', async () => {
    const builder = buildChain(folder, chain, key)
    builder.decisions(100)
    builder.checkpoint()
    builder.decisions(20_001)
    builder.breakOff()
    expect((await verify()).findings).toMatchObject([{ kind: 'unsigned' }])
  })

  it('finds a chain in which nothing is signed, unless it has only just begun', async () => {
    const builder = buildChain(folder, chain, key)
    builder.decisions(10)
    builder.breakOff()
    const [first = ''] = readFileSync(segmentPath(1), 'utf8').split('\n')
    const begunAt = Date.parse((JSON.parse(first) as { readonly at: string }).at)
    const verifyAt = async (now: number) => (await verifyChain({ folder, chain, keys, anchor: 'unread', now })).findings
    expect(await verifyAt(begunAt + 50_000)).toEqual([])
    expect(await verifyAt(begunAt + 70_000)).toMatchObject([{ kind: 'unsigned' }])
    expect(await verifyAt(begunAt - 70_000)).toMatchObject([{ kind: 'unsigned' }])
  })

  it('verifies with every key that ever signed', async () => {
    const later = createTestAuditKey('key-2')
    const builder = buildChain(folder, chain, key)
    builder.decisions(10)
    builder.endSegment()
    const next = buildChain(folder, chain, later)
    next.continueAfter(builder.head(), 2)
    next.decisions(10)
    next.checkpoint()
    const both = new Map([...keys, [later.kid, later.publicKey]])
    expect(await verifyChain({ folder, chain, keys: both, anchor: next.anchor() })).toMatchObject({ signedThrough: 24, findings: [] })
    expect(places(await verify())).toEqual(['unknown_key 00000002:1', 'unknown_key 00000002:12'])
  })

  it('says what the instance itself found missing at a start', async () => {
    const builder = buildChain(folder, chain, key)
    builder.decisions(10)
    builder.endSegment()
    const head = builder.head()
    builder.continueAfter({ seq: 40, hash: 'x'.repeat(43) }, 4)
    builder.add({ event: 'audit.repaired', tornBytes: 0, foundSeq: head.seq, anchoredSeq: 40 })
    builder.checkpoint()
    const verdict = await verify(builder.anchor())
    expect(places(verdict)).toEqual(['lost_before_start 00000004:1'])
    expect(verdict.findings[0]?.message).toContain('lines 13 to 40')
    unlinkSync(segmentPath(1))
    expect(places(await verify(builder.anchor()))).toEqual(['beginning_missing 00000004:1', 'lost_before_start 00000004:2'])
  })

  it('takes a torn line that was repaired at a start for what it is', async () => {
    const builder = buildChain(folder, chain, key)
    builder.decisions(10)
    builder.breakOff()
    builder.add({ event: 'audit.repaired', tornBytes: 77, foundSeq: builder.head().seq, anchoredSeq: undefined })
    builder.add({ event: 'audit.resumed', lost: 12, since: 0 })
    builder.checkpoint()
    expect(await verify(builder.anchor())).toMatchObject({ findings: [], lost: 12, signedThrough: 15 })
  })

  it('accepts a pruned beginning if a signed statement says so, in this chain or another one', async () => {
    const anchor = build()
    const text = readFileSync(segmentPath(2), 'utf8').split('\n')[0] ?? ''
    const { prev } = JSON.parse(text) as { prev: string }
    unlinkSync(segmentPath(1))
    const anchors = new Map([[chain, anchor]])
    const trail = () => verifyTrail({ folders: [folder], keys, anchors })
    const state = (chainName: string, throughSeq: number, head: string, isSigned: boolean) => {
      rmSync(join(folder, 'host-command'), { recursive: true, force: true })
      const builder = buildChain(folder, 'host-command', key)
      builder.add({ event: 'audit.pruned', actor: 'os:root@host', chain: chainName, segments: 1, throughSeq, head, cause: 'age' })
      if (isSigned) builder.checkpoint()
      else builder.breakOff()
    }
    expect((await trail()).isVerified).toBe(false)
    state(chain, 51, prev, true)
    const verdict = await trail()
    expect(verdict).toMatchObject({ isVerified: true })
    expect(verdict.chains.find((one) => one.chain === chain)).toMatchObject({ prunedThrough: 51, firstSeq: 52, anchored: 'reached' })
    for (const [of, through, head, isSigned] of [
      ['host-1', 51, prev, true],
      [chain, 50, prev, true],
      [chain, 51, 'x'.repeat(43), true],
      [chain, 51, prev, false],
    ] as const) {
      state(of, through, head, isSigned)
      expect((await trail()).isVerified, `${of} ${through} ${head} ${isSigned}`).toBe(false)
    }
    // A statement that was changed is none.
    state(chain, 50, prev, true)
    const path = join(folder, 'host-command', '00000001.ndjson')
    writeFileSync(path, readFileSync(path, 'utf8').replace('"through_seq":50', '"through_seq":51'))
    const forged = await trail()
    expect(forged.chains.find((one) => one.chain === chain)?.findings).toMatchObject([{ kind: 'beginning_missing' }])
  })

  it('accepts segments that an interrupted pruning left, and a chain that was pruned as a whole', async () => {
    const anchor = build()
    const { prev } = JSON.parse(readFileSync(segmentPath(3), 'utf8').split('\n')[0] ?? '') as { prev: string }
    unlinkSync(segmentPath(1))
    const builder = buildChain(folder, 'host-command', key)
    builder.add({ event: 'audit.pruned', actor: 'os:root@host', chain, segments: 2, throughSeq: 102, head: prev, cause: 'age' })
    builder.checkpoint()
    const anchors = new Map([[chain, anchor]])
    expect(await verifyTrail({ folders: [folder], keys, anchors })).toMatchObject({ isVerified: true })
    builder.add({ event: 'audit.pruned', actor: 'os:root@host', chain, segments: 1, throughSeq: 144, head: anchor.hash, cause: 'age' })
    builder.checkpoint()
    rmSync(join(folder, chain), { recursive: true })
    expect(await verifyTrail({ folders: [folder], keys, anchors, isExpected: () => true })).toMatchObject({
      isVerified: true,
      elsewhere: [],
    })
  })

  it('reads compressed segments as it reads others, and names one that is broken', async () => {
    const anchor = build()
    for (const number of [1, 2]) {
      writeFileSync(`${segmentPath(number)}.zst`, zstdCompressSync(readFileSync(segmentPath(number))))
      unlinkSync(segmentPath(number))
    }
    expect(await verify(anchor)).toMatchObject({ lines: 144, findings: [], anchored: 'reached' })
    const path = `${segmentPath(2)}.zst`
    const bytes = readSegment(path)
    bytes[5000] = (bytes[5000] ?? 0) ^ 1
    writeSegment(path, bytes)
    expect((await verify(anchor)).findings).toHaveLength(1)
    truncateSync(path, 1000)
    expect((await verify(anchor)).findings[0]).toMatchObject({ kind: 'unreadable', file: path })
  })

  it('begins with the segment in which the period begins', async () => {
    const builder = buildChain(folder, chain, key, 1_000_000)
    for (const at of [2_000_000, 3_000_000, 4_000_000]) {
      builder.decisions(10)
      builder.endSegment()
      builder.setClock(at)
    }
    builder.decisions(10)
    builder.checkpoint()
    const since = (instant: number) => verifyChain({ folder, chain, keys, anchor: builder.anchor(), since: instant })
    expect(await since(3_500_000)).toMatchObject({ firstSeq: 25, lines: 24, anchored: 'reached', findings: [] })
    expect(await since(9_000_000)).toMatchObject({ firstSeq: 37, findings: [] })
    expect(await since(0)).toMatchObject({ firstSeq: 1, findings: [] })
    editLines(1, (lines) => lines.splice(4, 1))
    expect(await since(3_500_000)).toMatchObject({ findings: [] })
  })

  it('finds nothing good where there is nothing', async () => {
    expect(await verifyTrail({ folders: [folder], keys, anchors: undefined })).toEqual({ chains: [], elsewhere: [], isVerified: false })
  })
})
