// The platform's user: its own database and no other. MongoDB's image runs this on an empty volume.
db.getSiblingDB("prediction_service").createUser({
  user: "churn",
  pwd: process.env.MONGO_PASSWORD,
  roles: [{ role: "readWrite", db: "prediction_service" }],
});
