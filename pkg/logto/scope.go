package logto

// ManagementScope is the one scope of the Management API: it allows everything, to read and to delete every user
// included (recorded: resources).
const ManagementScope = "all"
