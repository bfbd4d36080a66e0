/**
 * `postern device register|import|list|block|unblock|remove`: the inventory of devices, at a command line.
 *
 * Files that a registration names are read here; what they have to hold is judged in `administration`. Problems go to standard error, all of
 * them at once, and nothing was written then. Exit status: 0 done, 1 not done for a reason that is printed, 2 could not run.
 */

import { X509Certificate } from 'node:crypto'
import { dirname, resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { type DeviceRow, type LineProblem, parseDeviceCsv } from '../administration/device-csv.ts'
import { type DeviceDefinition, type DeviceInput, parseDeviceDefinition } from '../administration/device-definition.ts'
import { describeRegistrationProblem, type ImportRow, importDevices } from '../administration/device-import.ts'
import type { DeviceRecord, Devices } from '../administration/devices.ts'
import { stateDevice } from '../attributes/device-record.ts'
import { isPosternError } from '../errors.ts'
import { administer, type OpenAdministration } from './administer.ts'
import { collectPair, registerDeviceSubmit } from './device-submit.ts'
import { printJson } from './print-line.ts'
import { readText } from './read-text.ts'

export interface DeviceParts {
  readonly openAdministration: OpenAdministration
  /** Epoch milliseconds. */
  readonly now: () => number
}

interface RegisterOptions {
  readonly config: string
  readonly serial?: string
  readonly name?: string
  readonly owner?: string
  readonly tag?: readonly string[]
  readonly certificate?: readonly string[]
  readonly fingerprint?: readonly string[]
  readonly san?: readonly string[]
  readonly publicKey?: string
  readonly attribute?: Readonly<Record<string, string>>
}

/** Adds `device` and what belongs to it. */
export function registerDevice(program: Command, { openAdministration, now }: DeviceParts): void {
  const device = program.command('device').description('the inventory of devices')
  const withConfig = (command: Command) => command.option('--config <file>', 'instance configuration', 'config/postern.yaml')
  const onDevices = (file: string, work: (devices: Devices, actor: string) => Promise<void>) =>
    administer(file, openAdministration, ({ devices, actor }) => work(devices, actor))

  withConfig(device.command('register').description('add one device').argument('<id>', 'what it is called here, such as laptop-7'))
    .option('--serial <serial>', 'serial number')
    .option('--name <name>', 'a name for people')
    .option('--owner <owner>', 'whose it is, such as an e-mail address')
    .option('--tag <tag>', 'a tag for rules (may be given again)', collect)
    .option('--certificate <file>', 'its certificate, PEM (may be given again)', collect)
    .option('--fingerprint <sha256>', 'SHA-256 of its certificate (may be given again)', collect)
    .option('--san <name>', 'a name in its certificates, or what the provider calls it (may be given again)', collect)
    .option('--public-key <file>', 'the key that it signs reports with, PEM or JWK: Ed25519 or P-256')
    .option('--attribute <name=value>', 'something that rules may ask for (may be given again)', collectPair)
    .action(async (id: string, options: RegisterOptions) => {
      const files = await readFiles(options.certificate ?? [], options.publicKey)
      const definition = define({ id, ...wishOf(options) }, files)
      if ('problems' in definition) return refuse(definition.problems)
      await onDevices(options.config, async (devices, actor) => {
        const problems = await devices.register(definition, actor)
        if (problems.length > 0) refuse(problems.map(describeRegistrationProblem))
        else console.log(`Registered ${id}.${definition.key === undefined ? '' : ` Reports are signed with ${definition.key.algorithm}.`}`)
      })
    })

  withConfig(
    device.command('import').description('add all devices of a list, or none').argument('<file>', 'CSV with a header; see docs/devices.md'),
  ).action(async (file: string, options: { readonly config: string }) => {
    const { rows, problems } = await readList(file)
    if (problems.length > 0) return refuse(problems.map(describeLine(file)))
    await onDevices(options.config, async (devices, actor) => {
      const outcome = await importDevices(devices, rows, actor)
      if (outcome.outcome === 'refused') refuse([...outcome.problems.map(describeLine(file)), 'nothing was imported'])
      else console.log(`Imported ${outcome.added} devices; ${outcome.unchanged} were there already.`)
    })
  })

  withConfig(device.command('list').description('all devices and what is known of them'))
    .option('--json', 'one JSON object a line')
    .action((options: { readonly config: string; readonly json?: true }) =>
      administer(options.config, openAdministration, async ({ actor, devices, recordFirst }) => {
        await recordFirst({ event: 'data.read', actor, what: 'devices', target: undefined, entries: undefined })
        for await (const record of devices.list()) console.log(options.json === true ? describeAsJson(record) : describe(record, now()))
      }),
    )

  withConfig(device.command('block').description('keep a device out: it is not known any more').argument('<id>'))
    .requiredOption('--reason <text>', 'why, for whoever lifts it', parseReason)
    .action((id: string, options: { readonly config: string; readonly reason: string }) =>
      onDevices(options.config, async (devices, actor) =>
        say(await devices.block(id, options.reason, actor), id, 'is blocked; instances know within five seconds'),
      ),
    )

  withConfig(device.command('unblock').description('let a blocked device back in').argument('<id>')).action(
    (id: string, options: { readonly config: string }) =>
      onDevices(options.config, async (devices, actor) => say((await devices.unblock(id, actor)) === true, id, 'is not blocked')),
  )

  withConfig(device.command('remove').description('forget a device and all that was heard of it').argument('<id>')).action(
    (id: string, options: { readonly config: string }) =>
      onDevices(options.config, async (devices, actor) => say(await devices.remove(id, actor), id, 'is removed')),
  )

  registerDeviceSubmit(device, { now })
}

interface ReadFiles {
  readonly certificates: readonly string[]
  readonly publicKey: string | undefined
}

async function readFiles(certificates: readonly string[], publicKey: string | undefined): Promise<ReadFiles> {
  return {
    certificates: await Promise.all(certificates.map((file) => readText(file))),
    publicKey: publicKey === undefined ? undefined : await readText(publicKey),
  }
}

function wishOf({ attribute, fingerprint, name, owner, san, serial, tag }: RegisterOptions): Omit<DeviceInput, 'id'> {
  return { serial, name, owner, tags: tag, fingerprints: fingerprint, names: san, attributes: attribute }
}

/** The definition with what its files hold; of a certificate that is the fingerprint, which is exact. */
function define(input: DeviceInput, { certificates, publicKey }: ReadFiles): DeviceDefinition | { readonly problems: readonly string[] } {
  const read = certificates.map(fingerprintOf)
  const definition = parseDeviceDefinition({
    ...input,
    fingerprints: [...(input.fingerprints ?? []), ...read.flatMap((one) => one ?? [])],
    publicKey,
  })
  if (!read.includes(undefined)) return definition
  return { problems: ['a certificate file holds no certificate in PEM form', ...('problems' in definition ? definition.problems : [])] }
}

function fingerprintOf(pem: string): string | undefined {
  try {
    return new X509Certificate(pem).fingerprint256
  } catch {
    return undefined
  }
}

/** Reads a list and the files that its rows name. Problems are complete: no row is imported while there is one. */
async function readList(file: string): Promise<{ readonly rows: readonly ImportRow[]; readonly problems: readonly LineProblem[] }> {
  const { rows, problems } = parseDeviceCsv(await readText(file))
  const good: ImportRow[] = []
  const bad = [...problems]
  for (const row of rows) {
    const definition = await defineRow(row, dirname(file))
    if ('problems' in definition) for (const problem of definition.problems) bad.push({ line: row.line, problem })
    else good.push({ line: row.line, definition })
  }
  return { rows: good, problems: bad.sort((one, other) => one.line - other.line) }
}

async function defineRow({ input, certificateFile, publicKeyFile }: DeviceRow, folder: string) {
  const at = (file: string) => resolve(folder, file)
  try {
    const files = await readFiles(
      certificateFile === undefined ? [] : [at(certificateFile)],
      publicKeyFile === undefined ? undefined : at(publicKeyFile),
    )
    return define(input, files)
  } catch (error) {
    if (!isPosternError(error)) throw error
    return { problems: [error.message] }
  }
}

const describeLine =
  (file: string) =>
  ({ line, problem }: LineProblem) =>
    `${file}:${line}: ${problem}`

/** What the command was asked for was not done, and why. */
function refuse(problems: readonly string[]): void {
  for (const problem of problems) console.error(`postern: ${problem}`)
  process.exitCode = 1
}

function say(isThere: boolean, id: string, what: string): void {
  if (isThere) console.log(`Device ${id} ${what}.`)
  else refuse([`there is no device ${id}`])
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value]
}

function parseReason(text: string): string {
  if (text.trim() !== '' && text.length <= 500 && !/\p{Cc}/u.test(text)) return text.trim()
  throw new InvalidArgumentError('a reason is one line of at most 500 characters.')
}

function describe(record: DeviceRecord, now: number): string {
  const { attributes } = stateDevice({ ...record, status: { state: 'active' } }, 'certificate')
  const system = [attributes['os']?.value, attributes['os_version']?.value].filter((value) => value !== undefined).join(' ')
  const heard = lastHeardOf(record)
  const state = record.status.state === 'blocked' ? `blocked (${record.status.reason})` : 'active'
  const parts = [
    record.id,
    state,
    system === '' ? 'unknown system' : system,
    heard === undefined ? 'never reported' : `reported ${formatAge(now - heard)} ago`,
  ]
  return [...parts, record.owner ?? '', record.tags.join(',')].filter((part) => part !== '').join('  ')
}

function lastHeardOf({ lastReport, lastManagementReportAt }: DeviceRecord): number | undefined {
  const instants = [lastReport?.iat, lastManagementReportAt].filter((at) => at !== undefined)
  return instants.length === 0 ? undefined : Math.max(...instants)
}

function formatAge(milliseconds: number): string {
  const minutes = Math.max(0, Math.round(milliseconds / 60_000))
  if (minutes < 120) return `${minutes} min`
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} d`
}

function describeAsJson(record: DeviceRecord): string {
  const instant = (at: number | undefined) => (at === undefined ? null : new Date(at).toISOString())
  const { attributes } = stateDevice({ ...record, status: { state: 'active' } }, 'certificate')
  const { fingerprints, id, key, lastManagementReportAt, lastReport, name, names, owner, registeredAt, serial, status, tags } = record
  return printJson({
    id,
    name,
    serial: serial ?? null,
    owner: owner ?? null,
    tags,
    status: status.state,
    blocked: status.state === 'blocked' ? { reason: status.reason, by: status.by, at: instant(status.at) } : null,
    fingerprints,
    sans: names,
    key: key === undefined ? null : { algorithm: key.algorithm, thumbprint: key.thumbprint },
    attributes: Object.fromEntries(
      Object.entries(attributes).map(([attribute, { at, source, value }]) => [attribute, { value, source, at: instant(at) }]),
    ),
    registered_at: instant(registeredAt),
    last_report_at: instant(lastReport?.iat),
    last_management_report_at: instant(lastManagementReportAt),
  })
}
