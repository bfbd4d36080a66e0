/**
 * `postern device submit`: signs a posture report and posts it. The reference client: what it does is what docs/devices.md asks of others.
 *
 * It needs no store and no inventory, only the device's private key and the address of the access host; so it also runs on a laptop.
 * Exit status: 0 accepted, 1 refused (the answer is printed), 2 could not run.
 */

import { type Command, InvalidArgumentError } from 'commander'
import { readReportKey, signReport } from '../administration/sign-report.ts'
import { loadConfiguration, printProblems } from '../config/load-configuration.ts'
import { parsePosture } from '../config/posture-report-schema.ts'
import { PosternError } from '../errors.ts'
import { exchange } from './bounded-exchange.ts'
import { printLine } from './print-line.ts'
import { readText } from './read-text.ts'

interface SubmitOptions {
  readonly config: string
  readonly key: string
  readonly set?: Readonly<Record<string, string>>
  readonly file?: string
  readonly url?: URL
  readonly ca?: string
  readonly dryRun?: true
}

const answerMs = 10_000
const maxAnswerBytes = 64 * 1024

/** Adds `submit` to `device`. */
export function registerDeviceSubmit(device: Command, { now }: { readonly now: () => number }): void {
  device
    .command('submit')
    .description('sign a report about this device and post it')
    .argument('<id>', 'id of the device in the inventory')
    .requiredOption('--key <file>', 'its private key, PEM (PKCS #8) or JWK')
    .option('--set <name=value>', 'what was observed, such as disk_encrypted=true (may be given again)', collectPair)
    .option('--file <file>', 'what was observed, as JSON; --set goes over it')
    .option('--url <url>', 'address of the access host; from the configuration, if left out', parseUrl)
    .option('--ca <file>', 'authorities that vouch for the access host, PEM')
    .option('--dry-run', 'print the signed report and send nothing')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .action(async (id: string, options: SubmitOptions) => {
      const audience = options.url ?? (await readAccessUrl(options.config))
      if (audience === undefined) return
      const key = readReportKey(await readText(options.key))
      if (key === undefined) throw new PosternError('configuration_invalid', `${options.key} holds no private key for Ed25519 or P-256`)
      const posture = parsePosture(mergeSettings(await readPosture(options.file), options.set ?? {}))
      if ('problems' in posture) {
        for (const problem of posture.problems) console.error(`postern: ${problem}`)
        process.exitCode = 2
        return
      }
      const jws = await signReport(key, { audience, deviceId: id, posture: posture.value, at: now() })
      if (options.dryRun === true) return console.log(jws)
      const answer = await post(new URL(`/api/v1/devices/${encodeURIComponent(id)}/reports`, audience), jws, options.ca)
      if (answer === undefined) return
      if (answer.status === 200) return console.log(answer.body)
      console.error(printLine(`postern: the report was refused (${answer.status}): ${answer.body}`))
      process.exitCode = answer.status >= 500 ? 2 : 1
    })
}

async function readAccessUrl(file: string): Promise<URL | undefined> {
  const { parts, problems, value } = await loadConfiguration(file)
  const url = value?.url ?? parts.url
  if (url instanceof URL) return url
  console.error(printProblems(problems, 'error'))
  process.exitCode = 2
  return undefined
}

async function readPosture(file: string | undefined): Promise<unknown> {
  if (file === undefined) return {}
  const text = await readText(file)
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new PosternError('configuration_invalid', `${file} is not JSON`, { cause: error })
  }
}

const switches: ReadonlySet<string> = new Set(['managed', 'disk_encrypted', 'screen_lock', 'firewall'])
const texts: ReadonlySet<string> = new Set(['os', 'os_version', 'serial'])

/** `--set` over the file: names with a place of their own go there, others are attributes. */
function mergeSettings(posture: unknown, settings: Readonly<Record<string, string>>): unknown {
  if (typeof posture !== 'object' || posture === null || Array.isArray(posture)) return posture
  const merged: Record<string, unknown> = { ...posture }
  for (const [name, text] of Object.entries(settings)) {
    if (switches.has(name)) merged[name] = scalarOf(text)
    else if (texts.has(name)) merged[name] = text
    else merged['attributes'] = { ...(merged['attributes'] as object | undefined), [name]: scalarOf(text) }
  }
  return merged
}

function scalarOf(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  return /^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,6})?$/.test(text) ? Number(text) : text
}

interface Answer {
  readonly status: number
  readonly body: string
}

/** `undefined`, and said so, where nobody answered. */
async function post(url: URL, jws: string, caFile: string | undefined): Promise<Answer | undefined> {
  const ca = caFile === undefined ? undefined : await readText(caFile)
  const headers = { 'content-type': 'application/jose', accept: 'application/json' }
  try {
    const { status, text } = await exchange(url, { method: 'POST', headers, body: jws, ca, answerMs, maxAnswerBytes })
    return { status, body: text.trim() }
  } catch (cause) {
    console.error(`postern: ${url.origin} did not take the report: ${cause instanceof Error ? cause.message : String(cause)}`)
    process.exitCode = 2
    return undefined
  }
}

/** `name=value`; the value may hold further `=`. */
export function collectPair(written: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const equals = written.indexOf('=')
  if (equals < 1) throw new InvalidArgumentError('write name=value.')
  return { ...before, [written.slice(0, equals)]: written.slice(equals + 1) }
}

/** An address as it is given at a command line. */
export function parseUrl(written: string): URL {
  const url = URL.canParse(written) ? new URL(written) : undefined
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url
  throw new InvalidArgumentError('write a URL such as https://access.corp.example.')
}
