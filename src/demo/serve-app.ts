/**
 * One of the demo’s apps by itself: the process that a container runs.
 *
 * `node dist/demo/serve-app.js wiki --port 3000`, `board` alike, and `payroll` with `--issuer` (Postern's access URL) and
 * `--audience` (payroll's own public URL). It listens on every address, because in a container that network is the boundary.
 */

import { parseArgs } from 'node:util'
import type { RunningApp } from './apps/app-server.ts'
import { startBoard } from './apps/board.ts'
import { startPayroll } from './apps/payroll.ts'
import { startWiki } from './apps/wiki.ts'

const usage = 'usage: serve-app wiki|board|payroll [--port 3000] [--host 0.0.0.0] [--folder DIR] [--issuer URL --audience URL]'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string', default: '3000' },
    host: { type: 'string', default: '0.0.0.0' },
    folder: { type: 'string' },
    issuer: { type: 'string' },
    audience: { type: 'string' },
  },
})

const name = positionals[0] ?? ''
const app = await start(name)
process.stdout.write(`${JSON.stringify({ msg: 'ready', app: name, origin: app.origin })}\n`)

function start(which: string): Promise<RunningApp> {
  const port = Number(values.port)
  const common = { host: values.host, now: Date.now }
  if (which === 'wiki') return startWiki(port, { ...common, folder: values.folder })
  if (which === 'board') return startBoard(port, common)
  if (which === 'payroll' && values.issuer !== undefined && values.audience !== undefined) {
    return startPayroll(port, { ...common, issuer: new URL(values.issuer), audience: values.audience })
  }
  throw new TypeError(usage)
}
