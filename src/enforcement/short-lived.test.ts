/**
 * What V8 concludes from objects that outlive collections, in processes of their own: it is told for good.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

/** Of one size from the start: V8 concludes only where its young generation is as large as it gets. */
const runtime = ['--expose-gc', '--min-semi-space-size=16', '--max-semi-space-size=16']

async function countCollections(...parameters: readonly string[]): Promise<number> {
  const child = fork(fileURLToPath(new URL('./short-lived-process.fixture.ts', import.meta.url)), parameters, { execArgv: runtime })
  const exited = once(child, 'exit')
  const [{ collections }] = (await once(child, 'message')) as [{ collections: number }]
  await exited
  return collections
}

test('a process with a listener makes short-lived objects young, whatever outlived a collection before', { timeout: 60_000 }, async () => {
  expect(await countCollections('listening')).toBeGreaterThan(8)
})

test('a process without one makes them old', { timeout: 60_000 }, async () => {
  expect(await countCollections()).toBeLessThan(4)
})
