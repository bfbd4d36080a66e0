/** Reading a plain segment in memory that is used over and over: no line is lost, cut or mixed with another by it. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createReadMemory, readPlainBlocks } from './follow-file.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-follow-file-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function readAll(text: string, start = 0): Promise<readonly { text: string; offset: number; isWhole: boolean }[]> {
  const path = join(folder, '00000001.ndjson')
  writeFileSync(path, text)
  const blocks: { text: string; offset: number; isWhole: boolean }[] = []
  for await (const { bytes, isWhole, offset } of readPlainBlocks(path, start, createReadMemory())) {
    blocks.push({ text: bytes.toString('latin1'), offset, isWhole })
  }
  return blocks
}

it('hands out every line once and whole, across reads, also one that is longer than a read, and says where it stands', async () => {
  const lines = Array.from({ length: 3_000 }, (_, index) => `${index}:${'x'.repeat((index * 37) % 900)}\n`)
  lines.splice(1_500, 0, `${'y'.repeat(900_000)}\n`)
  const text = lines.join('')
  const start = (lines[0] ?? '').length
  const blocks = await readAll(text, start)
  expect(blocks.every(({ isWhole, text: block }) => isWhole && block.endsWith('\n'))).toBe(true)
  expect(blocks.map((block) => block.text).join('') === text.slice(start)).toBe(true)
  for (const block of blocks) expect(text.startsWith(block.text, block.offset)).toBe(true)
})

it('hands out what is longer than any line of ours in pieces, then the lines behind it, and what is torn as not whole', async () => {
  const text = `a\n${'z'.repeat(2_500_000)}\nb\n{"torn`
  const blocks = await readAll(text)
  expect(blocks.map((block) => block.text).join('') === text).toBe(true)
  expect(blocks.filter(({ isWhole }) => !isWhole).map((block) => block.text.slice(0, 6))).toEqual(['zzzzzz', 'zzzzzz', '{"torn'])
  expect(blocks[0]).toMatchObject({ text: 'a\n', offset: 0, isWhole: true })
})

it('gives memory to one reader at a time, and again to the next when it was released', () => {
  const [one, other] = [createReadMemory(), createReadMemory()]
  const first = one.reserve(1)
  expect(other.reserve(1)).not.toBe(first)
  one.release()
  expect(other.reserve(1)).not.toBe(first)
  expect(createReadMemory().reserve(1)).toBe(first)
})

it('rejects for a file that is gone', async () => {
  await expect(readPlainBlocks(join(folder, 'gone'), 0, createReadMemory()).next()).rejects.toMatchObject({ code: 'ENOENT' })
})
