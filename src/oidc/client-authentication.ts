/**
 * How Postern proves to the token endpoint that it is the registered client: a secret, or a signature (`private_key_jwt`).
 *
 * With a secret, the method is what the provider's metadata offers, HTTP Basic first, which is also what OAuth means where nothing is
 * said (RFC 8414 §2). Entra gets it in the body, where it need not be escaped: generated secrets there hold `~` and `.`, which are
 * escaped for Basic authentication and have to be restored by the other side. A private key never leaves this process; its
 * assertion is signed anew for each request.
 */

import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { importPKCS8 } from 'jose'
import { type ClientAuth, ClientSecretBasic, ClientSecretPost, PrivateKeyJwt, type ServerMetadata } from 'openid-client'
import type { ProviderConfiguration } from '../config/instance.ts'
import { PosternError } from '../errors.ts'

/** The authentication for one provider, by its metadata. Rejects with `configuration_invalid` if there is no usable credential. */
export async function loadClientAuthentication(configuration: ProviderConfiguration, metadata: ServerMetadata): Promise<ClientAuth> {
  if (configuration.clientKeyFile !== undefined) return await privateKeyJwt(configuration.clientKeyFile, metadata)
  if (configuration.clientSecret === undefined) {
    throw new PosternError('configuration_invalid', 'the provider needs client_secret or client_key_file')
  }
  const secret = configuration.clientSecret.reveal()
  const offered = metadata.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
  const inBody = offered.includes('client_secret_post') && (configuration.preset === 'entra' || !offered.includes('client_secret_basic'))
  return inBody ? ClientSecretPost(secret) : ClientSecretBasic(secret)
}

async function privateKeyJwt(file: string, metadata: ServerMetadata): Promise<ClientAuth> {
  try {
    const key = createPrivateKey(await readFile(file))
    const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString()
    return PrivateKeyJwt(await importPKCS8(pem, algorithmFor(key, metadata.token_endpoint_auth_signing_alg_values_supported ?? [])))
  } catch (cause) {
    throw new PosternError('configuration_invalid', `client_key_file ${file} is not a usable private key`, { cause })
  }
}

function algorithmFor(key: KeyObject, offered: readonly string[]): string {
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return offered.includes('PS256') && !offered.includes('RS256') ? 'PS256' : 'RS256'
    case 'ec':
      return { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? 'ES256'
    case 'ed25519':
      return 'EdDSA'
    default:
      throw new TypeError(`no signature algorithm for a key of type ${key.asymmetricKeyType ?? 'secret'}`)
  }
}
