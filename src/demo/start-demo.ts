/**
 * Everything of the demo but Postern itself: folder and files, the provider, the three apps. `commands/demo.ts` starts Postern on it.
 *
 * Its folder belongs to one running demo and is emptied at each start: it is named after the port, which one process holds. The
 * apps listen on loopback, on ports the system picks; nobody needs to know them.
 */

import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { startBoard } from './apps/board.ts'
import { startPayroll } from './apps/payroll.ts'
import { startWiki } from './apps/wiki.ts'
import { type DemoAddresses, writeInstance, writePolicy, writePolicyTests } from './demo-files.ts'
import { findFreePort } from './free-port.ts'
import { demoPeople } from './people.ts'
import { startDemoProvider } from './provider.ts'

export interface DemoOptions {
  /** The port to have if it is free; else the next free one. */
  readonly port: number
  /** Where the demo may make its folder. */
  readonly parentFolder: string
  readonly now: () => number
}

export interface RunningDemo {
  readonly addresses: DemoAddresses
  readonly folder: string
  /** The instance configuration to start Postern with. */
  readonly configurationFile: string
  readonly policyFile: string
  /** Stops provider and apps. Postern is stopped before, by whoever started it. */
  close(): Promise<void>
}

const preferredPort = 8080

/** Starts it all; when one part fails, those that run already are stopped. */
export async function startDemo(options: DemoOptions): Promise<RunningDemo> {
  const port = await findFreePort(options.port)
  const providerPort = await findFreePort(port + 1)
  const operationsPort = await findFreePort(9464, [port, providerPort])
  const access = new URL(`http://access.corp.localhost:${port}`)
  const issuer = new URL(`http://login.corp.localhost:${providerPort}`)
  const urlOf = (name: string) => `http://${name}.corp.localhost:${port}`
  const secret = randomBytes(24).toString('base64url')

  const running: { close(): Promise<void> }[] = []
  const close = async () => {
    await Promise.allSettled(running.map((part) => part.close()))
  }
  const keep = async <Part extends { close(): Promise<void> }>(starting: Promise<Part>): Promise<Part> => {
    const part = await starting
    running.push(part)
    return part
  }
  try {
    await keep(
      startDemoProvider({
        issuer,
        port: providerPort,
        client: {
          id: 'postern',
          secret,
          redirectUris: [`${access.origin}/oidc/callback`],
          postLogoutRedirectUris: [`${access.origin}/signed-out`],
          backchannelLogoutUri: `${access.origin}/oidc/backchannel-logout`,
        },
        people: demoPeople,
      }),
    )
    const wiki = await keep(startWiki(0, { now: options.now }))
    const board = await keep(startBoard(0, { now: options.now }))
    const payroll = await keep(startPayroll(0, { now: options.now, issuer: access, audience: urlOf('payroll') }))
    const addresses: DemoAddresses = {
      port,
      operationsPort,
      access,
      issuer,
      apps: {
        wiki: { url: urlOf('wiki'), upstream: wiki.origin },
        board: { url: urlOf('board'), upstream: board.origin },
        payroll: { url: urlOf('payroll'), upstream: payroll.origin },
      },
    }
    const folder = resolve(options.parentFolder, port === preferredPort ? 'demo' : `demo-${port}`)
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const configurationFile = join(folder, 'postern.yaml')
    const policyFile = join(folder, 'policy.yaml')
    await writeFile(join(folder, 'client-secret'), `${secret}\n`, { mode: 0o600 })
    await writeFile(configurationFile, writeInstance(addresses))
    await writeFile(policyFile, writePolicy(addresses))
    await writeFile(join(folder, 'policy.test.yaml'), writePolicyTests(addresses))
    return { addresses, folder, configurationFile, policyFile, close }
  } catch (error) {
    await close()
    throw error
  }
}
