/** The log's page names only lines that are written, word for word. */

import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const source = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !/\.(?:test|fixture)\.ts$/.test(name))
  .map((name) => readFileSync(join(root, 'src', name), 'utf8'))
  .join('\n')
const rows = readFileSync(join(root, 'docs', 'logs.md'), 'utf8')
  .split('\n')
  .map((line) => /^\| (info|warn|error|fatal) \| ([^|]+) \| ([^|]+) \|/.exec(line))
  .filter((row) => row !== null)

test('every line to know is one that is written', () => {
  expect(rows.length).toBeGreaterThan(15)
  const missing = rows.flatMap(([, , messages = '']) =>
    [...messages.matchAll(/`([^`]+)`/g)].map(([, message = '']) => message).filter((message) => !source.includes(`'${message}'`)),
  )
  expect(missing).toEqual([])
})
