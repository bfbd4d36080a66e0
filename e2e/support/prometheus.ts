/** A real Prometheus on this machine: it scrapes what it is told to each second, evaluates the rules of a file, and answers queries. */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findProgram } from '../provision.ts'
import { findFreePort } from './free-port.ts'
import { waitFor } from './rig.ts'

/** Path of the program; `undefined` where there is none. */
export const prometheusProgram: string | undefined = process.env['POSTERN_TEST_PROMETHEUS'] ?? findProgram(['prometheus'])

export interface TestPrometheus {
  /** What a query comes to now: one entry a series. */
  query(expression: string): Promise<readonly Sample[]>
  /** Health of each rule by name; `ok` where its expression could be evaluated. */
  rules(): Promise<ReadonlyMap<string, string>>
  close(): Promise<void>
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: number
}

/** Starts one and resolves once it is ready. Job `postern`, one target an operations port. */
export async function startPrometheus(ports: readonly number[], rulesFile: string): Promise<TestPrometheus> {
  if (prometheusProgram === undefined) throw new Error('there is no Prometheus here')
  const folder = await mkdtemp(join(tmpdir(), 'postern-prometheus-'))
  const port = await findFreePort()
  const origin = `http://127.0.0.1:${port}`
  const file = join(folder, 'prometheus.yml')
  const configuration = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: [rulesFile],
    scrape_configs: [{ job_name: 'postern', static_configs: [{ targets: ports.map((target) => `127.0.0.1:${target}`) }] }],
  }
  await writeFile(file, JSON.stringify(configuration))
  const args = [`--config.file=${file}`, `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`]
  const child = spawn(prometheusProgram, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8')
  })
  const close = async () => {
    await end(child)
    await rm(folder, { recursive: true, force: true })
  }
  const ask = async (path: string): Promise<unknown> => (await (await fetch(`${origin}${path}`)).json()) as unknown
  try {
    const isReady = () =>
      fetch(`${origin}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      )
    await waitFor(isReady, 20_000, () => `Prometheus did not become ready:\n${said}`)
  } catch (error) {
    await close()
    throw error
  }
  return {
    async query(expression) {
      const answer = (await ask(`/api/v1/query?query=${encodeURIComponent(expression)}`)) as QueryAnswer
      if (answer.status !== 'success') throw new Error(`${expression}: ${answer.error}`)
      return answer.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }))
    },
    async rules() {
      const { data } = (await ask('/api/v1/rules')) as RulesAnswer
      return new Map(data.groups.flatMap(({ rules }) => rules.map(({ health, lastError, name }) => [name, lastError ?? health] as const)))
    },
    close,
  }
}

interface QueryAnswer {
  readonly status: string
  readonly error: string
  readonly data: { readonly result: readonly { readonly metric: Record<string, string>; readonly value: readonly [number, string] }[] }
}

interface RulesAnswer {
  readonly data: {
    readonly groups: readonly {
      readonly rules: readonly { readonly name: string; readonly health: string; readonly lastError?: string }[]
    }[]
  }
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}
