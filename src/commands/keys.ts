/**
 * `postern keys generate` and `postern keys rotate`: the file with the secrets that seal records and sign assertions and the audit trail.
 *
 * Neither prints a key. `generate` never overwrites; `rotate` puts the next keys in force, which all instances have had in their file
 * since the rotation before, and which verifiers have seen in `jwks.json`. Then it seals devices and service tokens again: they outlive
 * the key that leaves, and there may be no instance running that would do it.
 */

import type { Command } from 'commander'
import type { ResealReport } from '../administration/resealing.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadConfiguration, printProblems } from '../config/load-configuration.ts'
import { isPosternError } from '../errors.ts'
import { createKeysFile, type KeyFamily, loadKeys, rotateKeys } from '../keys-file.ts'

/** A session's record outlives its lifetime by ten minutes; clocks of instances differ by less than the rest. */
const sealingMarginSeconds = 3_600

/** What the commands are given. */
export interface KeysParts {
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Seals what outlives sessions with the current key. Rejects where the store cannot be reached. */
  readonly reseal: (configuration: Pick<InstanceConfiguration, 'keysFile' | 'session' | 'dataDir'>) => Promise<ResealReport>
}

/** Adds `keys generate` and `keys rotate`. */
export function registerKeys(program: Command, { now, reseal }: KeysParts): void {
  const keys = program.command('keys').description('create or rotate the keys that seal sessions and sign assertions and the audit trail')

  keys
    .command('generate')
    .description('create the key file; give every instance the same one')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--out <file>', 'create this file instead of the configured one, without reading a configuration')
    .action(async (options: { readonly config: string; readonly out?: string }) => {
      const file = options.out ?? (await loadOrReport(options.config))?.keysFile
      if (file === undefined) return
      if (!createKeysFile(file, now())) {
        console.error(`postern: ${file} exists and is left as it is; \`postern keys rotate\` renews its keys`)
        process.exitCode = 1
        return
      }
      console.log(`Created ${file}, readable by its owner only. ${describeKeys(file, now())}`)
    })

  keys
    .command('rotate')
    .description('put the next keys in force; running instances follow within seconds')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--sealing', 'only the keys that seal records and cookies')
    .option('--assertion', 'only the keys that sign assertions')
    .option('--audit', 'only the key that signs the audit trail; the public half of the old one stays, to verify with')
    .option('--now', 'although verifiers may not have seen the next key: for a key that leaked')
    .action(async (options: RotateCommandOptions) => {
      const configuration = await loadOrReport(options.config)
      if (configuration === undefined) return
      const named = allFamilies.filter((family) => options[family] === true)
      const families = named.length === 0 ? allFamilies : named
      rotateKeys(configuration.keysFile, {
        now: now(),
        families,
        keepSealingSeconds: configuration.session.lifetimeSeconds + sealingMarginSeconds,
        isUrgent: options.now === true,
      })
      console.log(`Rotated ${configuration.keysFile}. ${describeKeys(configuration.keysFile, now())}`)
      if (families.includes('sealing')) await resealOrTell(configuration, reseal)
    })
}

interface RotateCommandOptions extends Readonly<Partial<Record<KeyFamily, true>>> {
  readonly config: string
  readonly now?: true
}

const allFamilies: readonly KeyFamily[] = ['sealing', 'assertion', 'audit']

/** What others need to know of the keys. The public audit key is what an auditor verifies the trail with. */
function describeKeys(file: string, now: number): string {
  const { assertion, audit } = loadKeys(file, now)
  const { kid, publicKey } = audit.current
  return `Signing key: ${assertion.current.kid}\nAudit key, for \`postern audit verify --public-key\`: ${kid}=${publicKey}`
}

/** The rotation stands either way; the outgoing key still opens for a while, and a running instance does the same on its own. */
async function resealOrTell(configuration: KeysConfiguration, reseal: KeysParts['reseal']): Promise<void> {
  const { keysFile, session, dataDir } = configuration
  const hours = Math.ceil((session.lifetimeSeconds + sealingMarginSeconds) / 3600)
  const advice = `an instance that runs does it by itself; else start one, or rotate again, within ${hours} h: later they cannot be opened`
  // A configuration that is not finished may mean another store than it says.
  if (dataDir === undefined) return console.error(`postern: devices and service tokens were not sealed again: ${advice}`)
  try {
    const { unreadable } = await reseal({ keysFile, session, dataDir })
    if (unreadable > 0) console.error(`postern: ${unreadable} devices or service tokens do not open with any key of ${keysFile}`)
  } catch (error) {
    if (!isPosternError(error)) throw error
    console.error(`postern: devices and service tokens were not sealed again (${error.message}): ${advice}`)
  }
}

type KeysConfiguration = Pick<InstanceConfiguration, 'keysFile' | 'session'> & { readonly dataDir?: string }

async function loadOrReport(file: string): Promise<KeysConfiguration | undefined> {
  const { value, parts, problems } = await loadConfiguration(file)
  if (value !== undefined) return value
  // A key file is made before the rest of a configuration is finished; only what is needed here must be there.
  if (parts.keysFile !== undefined && parts.session !== undefined) return { keysFile: parts.keysFile, session: parts.session }
  console.error(printProblems(problems, 'error'))
  process.exitCode = 2
  return undefined
}
