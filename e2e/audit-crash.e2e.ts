/**
 * Kills under load, again and again: what the upstream of a `group` app saw is always in the trail; what a `relaxed` app loses is younger
 * than is stated; and each start mends what it finds and leaves a chain that verifies.
 *
 * Half of the kills also lose what the system had not put on the disk yet, as a power cut does: the tail behind the last line that must be
 * there is cut off somewhere, often in the middle of a line.
 */

import { readFile, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listChains, listSegments, type SegmentFile } from '../src/audit/trail-files.ts'
import { verifyAudit } from './support/audit-check.ts'
import { Client } from './support/client.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'

const rounds = process.env['POSTERN_TEST_LONG'] === '1' ? 200 : 4

/** What `docs/audit.md` states at the most for a process that is killed under `relaxed`: lines wait for an fsync that is under way. */
const statedLossMs = 1000

/** A request as the upstream saw it. */
interface Seen {
  readonly path: string
  readonly at: number
}

describe('an instance that is killed under load', () => {
  let rig: Rig
  const clients = { payroll: new Client(), wiki: new Client() }
  const seen: Record<'payroll' | 'wiki', Seen[]> = { payroll: [], wiki: [] }

  beforeAll(async () => {
    const rules = [{ name: 'staff', allow: { groups: ['staff'] } }]
    rig = await startRig({
      apps: [
        { id: 'payroll', audit: { durability: 'group' }, rules },
        { id: 'wiki', audit: { durability: 'relaxed' }, rules },
      ],
    })
    for (const app of ['payroll', 'wiki'] as const) {
      expect((await rig.signIn(clients[app], 'alice', `${rig.origin(app)}/start`)).status).toBe(200)
      rig.upstream(app).answerWith((socket, request) => {
        seen[app].push({ path: request.target, at: performance.now() })
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      })
    }
  })
  afterAll(() => rig?.stop())

  test(`keeps its word over ${rounds} kills`, { timeout: rounds * 15_000 }, async () => {
    let lostRelaxed = 0
    let oldestLostMs = 0
    let repaired = 0
    for (let round = 0; round < rounds; round += 1) {
      seen.payroll = []
      seen.wiki = []
      const killedAt = await killUnderLoad(round)
      const recorded = await recordedPaths()
      expect(seen.payroll.filter(({ path }) => !recorded.has(path))).toEqual([])
      const lost = seen.wiki.filter(({ path }) => !recorded.has(path))
      lostRelaxed += lost.length
      oldestLostMs = Math.max(oldestLostMs, ...lost.map(({ at }) => killedAt - at))
      expect(lost.filter(({ at }) => killedAt - at > statedLossMs)).toEqual([])

      const cut = round % 2 === 1 ? await loseTail(new Set(seen.payroll.map(({ path }) => path))) : 0
      await rig.instance.start()
      const found = (await rig.audit()).filter((line) => line['event'] === 'audit.repaired')
      repaired = found.length
      const verified = await verifyAudit(rig)
      expect(verified.code, `round ${round}, ${cut} bytes cut off: ${verified.text}`).toBe(0)
    }
    console.log(
      `${rounds} kills: group lost 0, relaxed lost ${lostRelaxed}, ${Math.round(oldestLostMs)} ms old at the most; ${repaired} starts had something to mend`,
    )
  })

  /** Loads both apps and kills at a random moment; resolves to when. */
  async function killUnderLoad(round: number): Promise<number> {
    let isDone = false
    let number = 0
    const load = (['payroll', 'wiki'] as const).flatMap((app) =>
      Array.from({ length: 6 }, async () => {
        while (!isDone) {
          number += 1
          const url = `${rig.origin(app)}/round-${round}/${number}-${'x'.repeat(number % 300)}`
          if ((await clients[app].send(url, { as: 'fetch' }).catch(() => undefined)) === undefined) return
        }
      }),
    )
    const enough = 20 + Math.floor(Math.random() * 200)
    await waitFor(() => seen.payroll.length + seen.wiki.length > enough, 20_000)
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 50))
    const killedAt = performance.now()
    await rig.instance.stop('SIGKILL')
    isDone = true
    await Promise.all(load)
    return killedAt
  }

  async function recordedPaths(): Promise<ReadonlySet<unknown>> {
    const lines = (await readWholeLines()).filter((line) => line['event'] === 'access.decided' && line['effect'] === 'allow')
    return new Set(lines.map((line) => line['path']))
  }

  async function newestSegment(): Promise<SegmentFile> {
    const folder = join(rig.instance.folder, 'audit')
    const [chain] = await listChains(folder)
    const segment = (await listSegments(folder, chain ?? '')).at(-1)
    if (segment === undefined) throw new Error('there is no segment')
    return segment
  }

  /** The lines of the segment that was being written; what stands behind the last newline is none. */
  async function readWholeLines(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const parts = (await readFile((await newestSegment()).path, 'utf8')).split('\n')
    return parts.slice(0, -1).map((part) => JSON.parse(part) as Readonly<Record<string, unknown>>)
  }

  /** Cuts the newest segment somewhere behind the last line that must not be lost: of a `group` app, or signed and so on the disk. */
  async function loseTail(kept: ReadonlySet<string>): Promise<number> {
    const { path } = await newestSegment()
    const bytes = await readFile(path)
    let least = 0
    let from = 0
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, from)) {
      const line = JSON.parse(bytes.subarray(from, end).toString()) as Readonly<Record<string, unknown>>
      from = end + 1
      if (line['event'] === 'audit.checkpoint' || kept.has(String(line['path']))) least = from
    }
    const length = least + Math.floor(Math.random() * (bytes.length - least + 1))
    await truncate(path, length)
    return bytes.length - length
  }
})
