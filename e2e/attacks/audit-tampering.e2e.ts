/**
 * A213: somebody with the disk. Whatever is done to the files of a trail, the verifier finds it and says where; what a kill leaves behind
 * is neither mistaken for it nor in anybody's way.
 *
 * The trail is a real one: of an instance that served, was killed under load, started again, and was stopped.
 */

import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { genesis, hashLine, linePrefix } from '../../src/audit/chain.ts'
import { configurationFileOf, verifyAudit } from '../support/audit-check.ts'
import { Client } from '../support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from '../support/rig.ts'
import { attack, endRig } from './attack.ts'

describe('the files of a trail', () => {
  let rig: Rig
  const untouched = join(tmpdir(), `postern-untouched-${process.pid}`)
  const audit = () => join(rig.instance.folder, 'audit')
  let chain = ''

  beforeAll(async () => {
    rig = await startRig()
    const client = new Client()
    const url = `${rig.origin('app')}/ok`
    await rig.signIn(client, 'alice', url)
    let answered = 0
    let isDone = false
    const load = Array.from({ length: 12 }, async () => {
      while (!isDone) {
        if ((await client.send(`${url}/${answered}`, { as: 'fetch' }).catch(() => undefined)) === undefined) return
        answered += 1
      }
    })
    await waitFor(() => answered > 400, 30_000)
    await rig.instance.stop('SIGKILL')
    isDone = true
    await Promise.all(load)
    await rig.instance.start()
    await rig.signIn(client, 'alice', url)
    for (let round = 0; round < 20; round += 1) await client.send(`${url}/again-${round}`, { as: 'fetch' })
    await rig.instance.stop()
    chain = (await readdir(audit()))[0] ?? ''
    await cp(audit(), untouched, { recursive: true })
  })
  afterAll(async () => {
    await rm(untouched, { recursive: true, force: true })
    await endRig(rig)
  })

  const restore = async () => {
    await rm(audit(), { recursive: true, force: true })
    await cp(untouched, audit(), { recursive: true })
  }
  const segment = (name: string) => join(audit(), chain, name)
  const linesOf = async (name: string) => (await readFile(segment(name), 'utf8')).split('\n').slice(0, -1)
  const write = (name: string, lines: readonly string[]) => writeFile(segment(name), `${lines.join('\n')}\n`)

  /** Must not verify; returns what was found in a few words. */
  async function mustBeFound(place: RegExp): Promise<string> {
    const { chains, code, text } = await verifyAudit(rig)
    const found = JSON.stringify(chains.flatMap(({ findings }) => findings))
    expect(code, text).toBe(1)
    expect(found).toMatch(place)
    await restore()
    return `found: ${found.slice(0, 160)}`
  }

  attack('A213', 'LOG', 'kill -9 under load: whole lines, one sequence, nothing in anybody’s way', async () => {
    const verified = await verifyAudit(rig)
    expect(verified.code, verified.text).toBe(0)
    const [one] = verified.chains
    expect(one?.segments).toBeGreaterThanOrEqual(2)
    expect(one?.anchored).toBe('reached')
    const searched = await runCommand(['audit', 'search', '--json', '--config', configurationFileOf(rig)])
    expect(searched.code, searched.stderr).toBe(0)
    const lines = searched.stdout.split('\n').slice(0, -1)
    for (const line of lines) JSON.parse(line)
    return `${one?.lines} lines in ${one?.segments} segments verify, ${lines.length} are found`
  })

  attack('A213b', 'LOG', 'one word of one line is another', async () => {
    const lines = await linesOf('00000001.ndjson')
    const at = lines.findIndex((line) => line.includes('"effect":"allow"'))
    await write('00000001.ndjson', lines.with(at, String(lines[at]).replace('/ok', '/no')))
    return await mustBeFound(new RegExp(`"line":(${at + 1}|${at + 2})\\b`))
  })

  attack('A213c', 'LOG', 'a line is gone, a line is there twice, two lines changed places', async () => {
    const lines = await linesOf('00000001.ndjson')
    const outcomes: string[] = []
    await write('00000001.ndjson', lines.toSpliced(40, 1))
    outcomes.push(await mustBeFound(/"line":41\b/))
    await write('00000001.ndjson', lines.toSpliced(40, 0, String(lines[40])))
    outcomes.push(await mustBeFound(/"line":42\b/))
    await write('00000001.ndjson', lines.with(40, String(lines[41])).with(41, String(lines[40])))
    outcomes.push(await mustBeFound(/"line":41\b/))
    return `${outcomes.length} of 3 found`
  })

  attack('A213d', 'LOG', 'the end is cut off cleanly, after a signed checkpoint: the anchor remembers more', async () => {
    const names = (await readdir(join(audit(), chain))).filter((name) => name.endsWith('.ndjson')).sort()
    const last = names.at(-1) ?? ''
    await rm(segment(last))
    return await mustBeFound(/anchor|cut/)
  })

  attack('A213e', 'LOG', 'a line is changed and everything after it is hashed anew: nobody can sign it', async () => {
    const lines = await linesOf('00000001.ndjson')
    let prev = genesis
    const forged = lines.map((line, index) => {
      const changed = line.includes('"effect":"allow"') ? line.replace('"sub":"alice"', '"sub":"bob"') : line
      const rest = changed.slice(changed.indexOf('"at":'))
      const written = `${linePrefix(index + 1, prev)}${rest}`
      prev = hashLine(Buffer.from(written))
      return written
    })
    await write('00000001.ndjson', forged)
    return await mustBeFound(/"kind":"(changed|forged)/)
  })

  attack('A213f', 'LOG', 'a whole segment is gone, or one of another trail in its place', async () => {
    await rm(segment('00000001.ndjson'))
    const gone = await mustBeFound(/00000002|segment|missing|begin/)
    const lines = await linesOf('00000002.ndjson')
    await write('00000001.ndjson', lines)
    const replaced = await mustBeFound(/0000000[12]/)
    return `${gone}; ${replaced}`
  })

  attack('A213g', 'LOG', 'the whole trail is gone: the next start continues after the anchor, and the gap stays', async () => {
    await rm(audit(), { recursive: true, force: true })
    await rig.instance.start()
    await rig.instance.stop()
    const repaired = (await rig.audit()).find((line) => line['event'] === 'audit.repaired')
    expect(repaired?.['anchored_seq']).toBeGreaterThan(Number(repaired?.['found_seq']))
    return await mustBeFound(/missing|gap|repaired|begin/)
  })
})
