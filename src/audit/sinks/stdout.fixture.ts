/**
 * A process that sends a trail to standard output while it logs there: `node stdout.fixture.ts FOLDER`. It ends when all is sent.
 */

import { join } from 'node:path'
import { createLogger, writeBetweenLogLines } from '../../log.ts'
import { createFollower } from '../follow.ts'
import { createStdoutSink } from './stdout.ts'

const [, , folder] = process.argv
if (folder === undefined) throw new Error('FOLDER is missing')

const log = createLogger('info')
const follower = createFollower({
  folder: join(folder, 'audit'),
  chain: 'host-0',
  positionFile: join(folder, 'positions', 'position.json'),
  name: 'stdout',
  consumer: createStdoutSink((text) => writeBetweenLogLines(log, text)),
  now: Date.now,
  log,
  batchLines: 10,
})
let logged = 0
const chatter = setInterval(() => {
  for (let index = 0; index < 5; index += 1) log.info({ long: 'x'.repeat(1500) }, `between ${logged++}`)
  if (follower.status().sent < 300 || logged < 200) return
  clearInterval(chatter)
  follower.close().then(
    () => log.flush(),
    () => undefined,
  )
}, 1)
