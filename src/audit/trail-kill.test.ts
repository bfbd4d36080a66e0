/** A process that writes a trail is killed at random moments, again and again, and the chain goes through all its lives. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { useTrails } from './opened-trail.fixture.ts'
import { verifyTrail } from './verify.ts'

const rounds = process.env['POSTERN_TEST_LONG'] === '1' ? 200 : 8
const fixture = fileURLToPath(new URL('./trail.fixture.ts', import.meta.url))
const trails = useTrails()

describe('a process that is killed while it writes', () => {
  it.each(['group', 'relaxed'])('loses nothing that it was told was safe (%s)', { timeout: rounds * 10_000 }, async (mode) => {
    let promised = 0
    let repaired = 0
    for (let round = 0; round < rounds; round += 1) {
      const said = await killAtRandom(mode, `${mode}-${round}`)
      const { events, gaps, lines } = trails.check('killed-1')
      const there = new Set(events.map(({ request }) => request))
      expect(said.filter((request) => !there.has(request))).toEqual([])
      expect(gaps).toEqual([])
      promised += said.length
      repaired = lines.filter(({ event }) => event === 'audit.repaired').length
    }
    const keys = new Map([[trails.key.kid, trails.key.publicKey]])
    const { chains } = await verifyTrail({ folders: [trails.folder], keys, since: undefined, anchors: undefined })
    expect(chains.flatMap(({ findings }) => findings)).toEqual([])
    expect(promised).toBeGreaterThan(20 * rounds)
    console.log(`${mode}: ${rounds} kills, ${promised} lines promised and kept, ${repaired} torn lines cut off`)
  })

  it('leaves its folder to the next process at once, and to nobody before', { timeout: 30_000 }, async () => {
    const child = start('group', 'first')
    await once(child.stdout, 'data')
    const beside = await trails.open({ instance: 'killed' })
    expect(beside.chain).toBe('killed-1-2')
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
    expect((await trails.open({ instance: 'killed' })).chain).toBe('killed-1')
  })

  function start(mode: string, name: string) {
    const child = spawn(process.execPath, [fixture, trails.folder, mode, name], { stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin.end(JSON.stringify(trails.key.privateKey.export({ format: 'jwk' })))
    return child
  }

  /** What the process said must be there. */
  async function killAtRandom(mode: string, name: string): Promise<readonly string[]> {
    const child = start(mode, name)
    const exited = once(child, 'exit')
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      if (text === '') setTimeout(() => child.kill('SIGKILL'), 10 + Math.random() * 100)
      text += chunk.toString()
    })
    await exited
    if (!child.stdout.readableEnded) await once(child.stdout, 'end')
    expect(child.signalCode).toBe('SIGKILL')
    // The last one may be half of a word.
    return text.split('\n').slice(0, -1)
  }
})
