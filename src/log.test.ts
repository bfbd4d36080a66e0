/** What the operational log shows of an error, and what it never shows. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)

/** Runs statements with a real logger in a process of its own and returns its lines. */
async function linesOf(statements: string): Promise<readonly Record<string, unknown>[]> {
  const program = `
    import { createLogger } from ${JSON.stringify(join(import.meta.dirname, 'log.ts'))}
    import { PosternError } from ${JSON.stringify(join(import.meta.dirname, 'errors.ts'))}
    const log = createLogger('debug')
    ${statements}
    log.flush()`
  const { stdout } = await run(process.execPath, ['--input-type=module-typescript', '-e', program])
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('an error shows its code, its message and its causes', async () => {
  const [line] = await linesOf(`
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    log.error({ err: new PosternError('provider_unavailable', 'no usable answer', { cause }) }, 'a sign-in failed')`)
  expect(line).toMatchObject({
    msg: 'a sign-in failed',
    err: { name: 'PosternError', code: 'provider_unavailable', message: 'no usable answer', cause: { code: 'ECONNREFUSED' } },
  })
})

test('secrets by name, and credentials in a URL, never show', async () => {
  const lines = await linesOf(`
    log.warn({ code: 'S3CRET', password: 'S3CRET', nested: { token: 'S3CRET', deeper: { client_secret: 'S3CRET' } } }, 'x')
    log.warn({ err: new Error('redis://user:S3CRET@redis:6379 is away') }, 'y')`)
  expect(lines).toHaveLength(2)
  expect(JSON.stringify(lines)).not.toContain('S3CRET')
})
