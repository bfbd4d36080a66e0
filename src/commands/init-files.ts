/**
 * The texts that `postern init` writes, and the URLs to register. Values are written as JSON strings, which YAML reads unchanged.
 */

import { isLocalhostName } from '../name-resolution.ts'
import type { InitAnswers } from './init-answers.ts'

const quoted = (text: string) => JSON.stringify(text)

/** `postern.yaml`; `secretPath` is relative to it, or absolute. */
export function writeConfigurationText(answers: InitAnswers, secretPath: string): string {
  const isPlain = answers.url.protocol === 'http:'
  // Names that only mean this machine need nobody else to reach it.
  const isLocal = isLocalhostName(answers.url.hostname)
  const port = answers.url.port === '' ? (isPlain ? '8080' : '8443') : answers.url.port
  return `# Written by \`postern init\`. Every key is explained in docs/configuration.md; \`postern check\` judges it.
url: ${quoted(answers.url.origin)}
listen: ${isLocal ? '127.0.0.1' : '0.0.0.0'}:${port}
${
  isPlain
    ? ''
    : `# Where Postern itself ends TLS; leave out behind a balancer that does.
# tls: [{ cert_file: tls/cert.pem, key_file: tls/key.pem }]
`
}
provider:
  issuer: ${quoted(answers.issuer)}
${answers.preset === undefined ? '' : `  preset: ${answers.preset}\n`}  client_id: ${quoted(answers.clientId)}
  client_secret_file: ${quoted(secretPath)}

session:
  # One process. For more than one, or for production: redis://… or rediss://…
  store: embedded

policy: policy.yaml
`
}

/** `policy.yaml` with the one app. */
export function writePolicyText(answers: InitAnswers): string {
  const who = answers.groups.length === 0 ? '{ signed_in: true }' : `{ groups: [${answers.groups.map(quoted).join(', ')}] }`
  const name = answers.groups.length === 0 ? 'everybody who is signed in' : answers.groups.join(' or ').slice(0, 100).trim()
  return `# Written by \`postern init\`. Nobody may do anything that no rule allows; a deny wins over every allow.
version: 1
apps:
  - id: ${quoted(answers.app.id)}
    url: ${quoted(answers.app.url)}
    upstream: ${quoted(answers.app.upstream)}
    rules:
      - { name: ${quoted(name)}, allow: ${who} }
`
}

export interface RegisteredUrls {
  readonly redirect_uri: string
  readonly post_logout_redirect_uri: string
  readonly backchannel_logout_uri: string
}

/** What the client at the provider has to know of us. */
export function urlsToRegister(accessUrl: URL): RegisteredUrls {
  const at = (path: string) => new URL(path, accessUrl).href
  return {
    redirect_uri: at('/oidc/callback'),
    post_logout_redirect_uri: at('/signed-out'),
    backchannel_logout_uri: at('/oidc/backchannel-logout'),
  }
}
