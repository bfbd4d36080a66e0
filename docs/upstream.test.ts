/** The Node example of `upstream.md`, run as it is printed there, against a key set and assertions made here. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { expect, test } from 'vitest'

test('the Node example accepts an assertion for its app and refuses another audience, an expired one and an altered one', async () => {
  const page = await readFile(join(import.meta.dirname, 'upstream.md'), 'utf8')
  const example = /<!-- tested: node -->\n```js\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
  expect(example).toContain('jwtVerify')

  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256', use: 'sig' }
  const server = createServer((_request, response) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwk] })),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const folder = await mkdtemp(join(import.meta.dirname, '..', 'node_modules', '.example-'))
  try {
    const file = join(folder, 'identify.mjs')
    await writeFile(file, example.replace('https://access.corp.example/.postern/jwks.json', `http://127.0.0.1:${port}/`))
    const { identify } = (await import(pathToFileURL(file).href)) as {
      identify: (request: { headers: Record<string, string> }) => Promise<Record<string, unknown>>
    }
    const sign = (audience: string, expires: string | number, typ = 'postern+jwt') =>
      new SignJWT({ groups: ['finance'] })
        .setProtectedHeader({ alg: 'ES256', kid: 'k', typ })
        .setSubject('bob')
        .setIssuer('https://access.corp.example')
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime(expires)
        .sign(privateKey)
    const call = async (token: string) => identify({ headers: { 'x-postern-assertion': token } })
    const good = await sign('https://payroll.corp.example', '5m')
    await expect(call(good)).resolves.toMatchObject({ sub: 'bob', groups: ['finance'] })
    await expect(call(await sign('https://wiki.corp.example', '5m'))).rejects.toThrow()
    await expect(call(await sign('https://payroll.corp.example', 1))).rejects.toThrow()
    await expect(call(await sign('https://payroll.corp.example', '5m', 'JWT'))).rejects.toThrow()
    await expect(call(`${good.slice(0, -4)}AAAA`)).rejects.toThrow()
    await expect(identify({ headers: {} })).rejects.toThrow()
  } finally {
    server.close()
    await rm(folder, { recursive: true, force: true })
  }
})
