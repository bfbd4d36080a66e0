/**
 * The frame of every command on a running system: configuration, store, one piece of work, and everything closed again.
 *
 * It needs neither the provider nor a policy. Standard output belongs to the command's answer, so the log goes to standard error.
 */

import type { Administration, AdministrationConfiguration } from '../compose-administration.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadConfiguration, printProblems } from '../config/load-configuration.ts'
import { createLogger, type Logger } from '../log.ts'

export type OpenAdministration = (configuration: AdministrationConfiguration, log: Logger) => Promise<Administration>

/**
 * Does `work` on the system that the configuration names. A configuration with problems ends with status 2: which store it meant is
 * then a guess, and an order to the wrong store would look as if it had been carried out.
 */
export async function administer(
  file: string,
  openAdministration: OpenAdministration,
  work: (administration: Administration, configuration: InstanceConfiguration) => Promise<void>,
): Promise<void> {
  const { value, problems } = await loadConfiguration(file)
  if (value === undefined) {
    console.error(printProblems(problems, 'error'))
    process.exitCode = 2
    return
  }
  const administration = await openAdministration(value, createLogger('warn', 'stderr'))
  try {
    await work(administration, value)
  } finally {
    await administration.close()
  }
}
