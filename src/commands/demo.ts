/**
 * `postern demo`: Postern on the embedded store, with a provider, three people and three apps, on this machine and for nobody else.
 *
 * Only this file imports `src/demo`, and only when asked to: the demo's provider is a development dependency, which an image
 * does not have. Postern itself runs as ever, on files that the demo writes; only its pages say that this is a demo.
 */

import type { Command } from 'commander'
import type { RunningPostern, StartOptions } from '../compose.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { printProblems } from '../config/problems.ts'
import { createLogger, type Logger } from '../log.ts'

export interface DemoParts {
  readonly startPostern: (options: StartOptions) => Promise<RunningPostern>
  readonly serveUntilSignal: (running: RunningPostern, log: Logger, onHangUp: 'reload' | 'stop') => Promise<number>
}

const defaultPort = 8080
const highestPort = 65_000

/** Adds `demo`. */
export function registerDemo(program: Command, parts: DemoParts): void {
  program
    .command('demo')
    .description('run a complete demo on this machine: provider, three people, three apps')
    .option('--port <port>', 'port to use if it is free, else the next free one', String(defaultPort))
    .option('--data <folder>', 'folder for the files of the demo', 'data')
    .action(async (options: { readonly port: string; readonly data: string }) => {
      const port = Number(options.port)
      if (!Number.isInteger(port) || port < 1024 || port > highestPort) {
        console.error(`postern: --port takes a number from 1024 to ${highestPort}`)
        process.exitCode = 2
        return
      }
      process.exitCode = await runDemo(parts, { port, parentFolder: options.data })
    })
}

async function runDemo(parts: DemoParts, options: { readonly port: number; readonly parentFolder: string }): Promise<number> {
  const demoModules = await loadDemo()
  if (demoModules === undefined) {
    console.error('postern: the demo needs its development packages; run it in a checkout, after `npm ci`')
    return 2
  }
  const demo = await demoModules.startDemo({ ...options, now: Date.now })
  try {
    // The demo's own files are the whole truth: a POSTERN_… variable of another instance must not leak into it.
    const loaded = await loadConfiguration(demo.configurationFile, {})
    if (loaded.value === undefined) {
      console.error(printProblems(loaded.problems, 'error'))
      return 2
    }
    const log = createLogger('warn')
    const postern = await parts.startPostern({ configuration: loaded.value, log, isDemo: true })
    const stopped = parts.serveUntilSignal(postern, log, 'stop')
    if (demo.addresses.port !== options.port) console.log(`  Port ${options.port} is in use; the demo took ${demo.addresses.port}.`)
    console.log(demoModules.tellDemo(demo, process.cwd()))
    return await stopped
  } finally {
    await demo.close()
  }
}

async function loadDemo() {
  try {
    const [{ startDemo }, { tellDemo }] = await Promise.all([import('../demo/start-demo.ts'), import('../demo/demo-story.ts')])
    return { startDemo, tellDemo }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND') return undefined
    throw error
  }
}
