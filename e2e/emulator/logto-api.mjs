// Calls a tenant by the official client of the Management API. It takes the folder in which @logto/api is installed as its
// argument, and on standard input, as JSON, the tenant's address, an app, and the ids of what the calls are about. It prints a
// list of JSON: each call with its status and the data or the error that the client returned.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const client = createRequire(`${process.argv[2]}/`).resolve('@logto/api/management');
const { createManagementApi } = await import(pathToFileURL(client));
const types = readFileSync(join(dirname(client), 'generated-types', 'management.d.ts'), 'utf8');

const { endpoint, appId, appSecret, roleId, hookId } = JSON.parse(readFileSync(0, 'utf8'));
const { apiClient } = createManagementApi('default', { clientId: appId, clientSecret: appSecret, baseUrl: endpoint });

const calls = [];
const call = async (method, path, { path: ids, query, body } = {}) => {
  // The client sends to any path. What its types do not have, it does not claim to know.
  if (!types.includes(`"${path}": {`)) throw new Error(`@logto/api knows no ${path}`);
  const { data, error, response } = await apiClient[method](path, { params: { path: ids, query }, body });
  calls.push({ call: `${method} ${path}`, status: response.status, total: response.headers.get('total-number'), data, error });
  return data;
};

const ann = await call('POST', '/api/users', { body: { primaryEmail: 'ann@example.com', username: 'ann', customData: { plan: 'free' } } });
const bob = await call('POST', '/api/users', { body: { primaryEmail: 'bob@example.com' } });
await call('POST', '/api/users', { body: { primaryEmail: 'ann@example.com' } });
await call('GET', '/api/users', { query: { page: 1, page_size: 1 } });
// The types have search_params for these, which the client would not write as Logto reads them.
await call('GET', '/api/users', { query: { 'search.primaryEmail': 'ann@example.com', 'mode.primaryEmail': 'exact' } });
await call('GET', '/api/users', { query: { 'search.id': [ann.id, bob.id], 'mode.id': 'exact', joint: 'or' } });
await call('GET', '/api/users', { query: { 'search.nonsense': 'x' } });
await call('GET', '/api/users/{userId}', { path: { userId: ann.id } });
await call('PATCH', '/api/users/{userId}', { path: { userId: ann.id }, body: { name: 'Ann' } });
await call('PATCH', '/api/users/{userId}/custom-data', { path: { userId: ann.id }, body: { customData: { seats: 3 } } });
await call('PATCH', '/api/users/{userId}/custom-data', { path: { userId: ann.id }, body: { customData: [] } });
await call('GET', '/api/users/{userId}/custom-data', { path: { userId: ann.id } });
await call('PATCH', '/api/users/{userId}/is-suspended', { path: { userId: ann.id }, body: { isSuspended: true } });
await call('DELETE', '/api/users/{userId}', { path: { userId: bob.id } });
await call('GET', '/api/users/{userId}', { path: { userId: bob.id } });

await call('GET', '/api/applications/{id}', { path: { id: appId } });
await call('GET', '/api/applications/{id}', { path: { id: 'nobody' } });
await call('GET', '/api/applications/{applicationId}/roles', { path: { applicationId: appId } });
await call('POST', '/api/applications/{id}/secrets', { path: { id: appId }, body: { name: 'next/one' } });
await call('POST', '/api/applications/{id}/secrets', { path: { id: appId }, body: { name: 'next/one' } });
await call('GET', '/api/applications/{id}/secrets', { path: { id: appId } });
await call('DELETE', '/api/applications/{id}/secrets/{name}', { path: { id: appId, name: 'next/one' } });
await call('GET', '/api/roles/{id}/scopes', { path: { id: roleId } });
await call('GET', '/api/resources', { query: { includeScopes: 'true' } });
await call('GET', '/api/logs', { query: { applicationId: appId, logKey: 'ExchangeTokenBy.ClientCredentials' } });
await call('GET', '/api/hooks/{id}/recent-logs', { path: { id: hookId }, query: { logKey: 'TriggerHook.User.Created' } });

// An app secret is nobody's business.
console.log(JSON.stringify(calls, (key, value) => (key === 'value' ? '***' : value)));
