// Brings users' custom data up to date with the official client of the Management API, as one writes it by hand:
//
//	node sync.mjs SECRET-FILE ROWS.ndjson [HOW-MANY-AT-ONCE]
//
// A row names its user by id, or by e-mail address, which has to be searched first. The client does not repeat what the rate limit
// refuses, so this does.
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { createManagementApi } from '@logto/api/management';

const [secretFile, rowsFile, atOnce = '1'] = process.argv.slice(2);
const { endpoint, appId, appSecret } = JSON.parse(readFileSync(secretFile, 'utf8'));
const { apiClient } = createManagementApi('default', { baseUrl: endpoint, clientId: appId, clientSecret: appSecret });

const send = async (request) => {
  for (;;) {
    const { data, response } = await request();
    if (response.ok) return data;
    if (response.status !== 429) throw new Error(`Logto answers ${response.status}`);
    await setTimeout(1000 * (Number(response.headers.get('retry-after')) || 1));
  }
};

const findUser = async (primaryEmail) => {
  const query = { 'search.primaryEmail': primaryEmail, 'mode.primaryEmail': 'exact' };
  const [user] = await send(() => apiClient.GET('/api/users', { params: { query } }));
  if (!user) throw new Error(`no user has the e-mail address ${primaryEmail}`);
  return user.id;
};

const syncRow = async ({ id, primaryEmail, customData }) => {
  const userId = id ?? (await findUser(primaryEmail));
  await send(() => apiClient.PATCH('/api/users/{userId}/custom-data', { params: { path: { userId } }, body: { customData } }));
};

const rows = readFileSync(rowsFile, 'utf8').trimEnd().split('\n').values();
const worker = async () => {
  for (const line of rows) await syncRow(JSON.parse(line));
};
// The first request gets the token: those that come with it would each get one of their own.
await syncRow(JSON.parse(rows.next().value));
await Promise.all(Array.from({ length: Number(atOnce) }, worker));
