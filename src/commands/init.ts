/**
 * `postern init`: from a few answers to a configuration and a policy that load, and the three URLs to register at the provider.
 *
 * Every answer is judged by the same parsers that judge the files. The client secret goes into a file of its own (0600), never on
 * the screen and never into the configuration. Nothing that exists is overwritten without being asked, or `--force`.
 */

import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import type { Command } from 'commander'
import { loadConfiguration } from '../config/load-configuration.ts'
import { loadPolicy } from '../config/load-policy.ts'
import { printProblems } from '../config/problems.ts'
import { type Conversation, createConversation } from './conversation.ts'
import { collectAnswers, type InitAnswers, type InitFlags } from './init-answers.ts'
import { urlsToRegister, writeConfigurationText, writePolicyText } from './init-files.ts'

/** Adds `init`. */
export function registerInit(program: Command): void {
  program
    .command('init')
    .description('write a configuration and a policy from a few answers')
    .option('--config <file>', 'instance configuration to write; the policy goes beside it', 'config/postern.yaml')
    .option('--url <url>', 'public URL of the access host')
    .option('--preset <name>', 'keycloak, entra, okta, google or none')
    .option('--issuer <url>', 'issuer of the OpenID Provider')
    .option('--client-id <id>', 'client id')
    .option('--client-secret-file <file>', 'file with the client secret, in place of typing it')
    .option('--app <id>', 'id of the first app')
    .option('--app-url <url>', 'its public URL')
    .option('--upstream <url>', 'its internal address')
    .option('--groups <names>', 'groups that may open it, separated by commas; everybody who is signed in, if left out')
    .option('--yes', 'ask nothing: take flags and defaults')
    .option('--force', 'overwrite files that exist')
    .option('--json', 'print one JSON object')
    .action(async (flags: InitFlags) => {
      const conversation = createConversation({ input: process.stdin, output: process.stderr, isSilent: flags.yes === true })
      try {
        const outcome = await runInit(flags, conversation)
        console.log(flags.json === true ? JSON.stringify(outcome.summary) : outcome.text)
        process.exitCode = outcome.status
      } finally {
        conversation.close()
      }
    })
}

export interface InitOutcome {
  readonly status: 0 | 1 | 2
  readonly text: string
  readonly summary: {
    readonly ok: boolean
    readonly written: readonly string[]
    readonly register: Readonly<Record<string, string>>
    readonly message: string | undefined
  }
}

/** Asks, writes and checks. Status 1: refused to overwrite, or what was written has problems; 2: an answer is missing or not valid. */
export async function runInit(flags: InitFlags, conversation: Conversation): Promise<InitOutcome> {
  const answers = await collectAnswers(flags, conversation)
  if ('missing' in answers) return refusal(2, answers.missing)

  const folder = dirname(flags.config)
  const policyFile = join(folder, 'policy.yaml')
  const secretFile = answers.clientSecret === undefined ? undefined : join(folder, 'secrets', 'client-secret')
  const files = [flags.config, policyFile, ...(secretFile === undefined ? [] : [secretFile])]
  const existing: string[] = []
  for (const file of files) if (await exists(file)) existing.push(file)
  if (existing.length > 0 && flags.force !== true) {
    const question = `${existing.join(' and ')} ${existing.length === 1 ? 'exists' : 'exist'}. Overwrite?`
    if (!(await conversation.confirm(question))) return refusal(1, `${existing.join(', ')}: not overwritten (--force does)`)
  }

  await writeFiles(answers, { config: flags.config, policy: policyFile, secret: secretFile })
  return await reportWritten(flags.config, files, answers)
}

function refusal(status: 1 | 2, message: string): InitOutcome {
  return { status, text: `postern init: ${message}`, summary: { ok: false, written: [], register: {}, message } }
}

async function writeFiles(
  answers: InitAnswers,
  files: { readonly config: string; readonly policy: string; readonly secret: string | undefined },
): Promise<void> {
  await mkdir(dirname(files.config), { recursive: true })
  let secretPath = answers.clientSecretFile
  if (files.secret !== undefined && answers.clientSecret !== undefined) {
    await mkdir(dirname(files.secret), { recursive: true, mode: 0o700 })
    // `mode` counts only where the file is created, so an old one goes first; nor is a link followed.
    await rm(files.secret, { force: true })
    await writeFile(files.secret, `${answers.clientSecret.reveal()}\n`, { mode: 0o600, flag: 'wx' })
    secretPath = relative(dirname(files.config), files.secret)
  }
  await writeFile(files.config, writeConfigurationText(answers, secretPath ?? ''))
  await writeFile(files.policy, writePolicyText(answers))
}

async function reportWritten(config: string, written: readonly string[], answers: InitAnswers): Promise<InitOutcome> {
  const configuration = await loadConfiguration(config)
  const policy = await loadPolicy(configuration.parts.policyPath ?? '', { configuration: configuration.parts })
  const problems = [...configuration.problems, ...policy.problems]
  const register = urlsToRegister(answers.url)
  const lines = [
    `written: ${written.join(', ')}`,
    '',
    'Register these at the provider:',
    `  redirect URI              ${register.redirect_uri}`,
    `  post-logout redirect URI  ${register.post_logout_redirect_uri}`,
    `  back-channel logout URL   ${register.backchannel_logout_uri}`,
    '',
    ...(problems.length > 0 ? [printProblems(problems, 'error'), ''] : []),
    `Next: postern check --live --config ${config}, then postern serve --config ${config}`,
  ]
  return {
    status: problems.length > 0 ? 1 : 0,
    text: lines.join('\n'),
    summary: {
      ok: problems.length === 0,
      written,
      register: { ...register },
      message: problems.length > 0 ? printProblems(problems, 'error') : undefined,
    },
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT' && (error as NodeJS.ErrnoException).code !== 'ENOTDIR'
  }
}
