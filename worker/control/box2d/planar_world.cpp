#include "worker/control/box2d/planar_world.hpp"

#include <box2d/box2d.h>

#include <cmath>

namespace eggroll {
namespace {

constexpr uint16_t kGround = 1, kBodies = 2;  // categories; a body's mask is the ground
constexpr double kStep = 1.0 / 50;
constexpr int kVelocityIterations = 180, kPositionIterations = 60;

b2Vec2 vector(Point point) { return {static_cast<float>(point.x), static_cast<float>(point.y)}; }
Point point(b2Vec2 vector) { return {vector.x, vector.y}; }
bool is_finite(b2Vec2 vector) { return std::isfinite(vector.x) && std::isfinite(vector.y); }

// Box2D 2.4.1 fills a table of the program when the first contact of all is made, and looks at a plain
// flag whether it has been: so one contact is made before any world is, by one thread. What else it has
// of the program's are counters of its statistics (b2_gjkCalls, b2_toiTime, ...): threads may lose some
// of each other's counts, and nothing reads them.
void fill_tables() {
  static const bool done = [] {
    b2World world({0, 0});
    b2PolygonShape box;
    box.SetAsBox(1, 1);
    b2BodyDef body;
    world.CreateBody(&body)->CreateFixture(&box, 0);
    body.type = b2_dynamicBody;
    world.CreateBody(&body)->CreateFixture(&box, 1);
    world.Step(static_cast<float>(kStep), 1, 1);
    return true;
  }();
  static_cast<void>(done);
}

struct Touch {
  bool now = false, ever = false;
};

class Touches final : public b2ContactListener {
 public:
  std::vector<Touch> of_bodies;

  void BeginContact(b2Contact* contact) override { note(*contact, true); }
  void EndContact(b2Contact* contact) override { note(*contact, false); }

 private:
  void note(b2Contact& contact, bool begins) {
    for (b2Fixture* side : {contact.GetFixtureA(), contact.GetFixtureB()}) {
      const size_t number = side->GetBody()->GetUserData().pointer;  // 0: the ground
      if (number == 0) continue;
      Touch& touch = of_bodies[number - 1];
      touch.now = begins;
      touch.ever |= begins;
    }
  }
};

class NearestGround final : public b2RayCastCallback {
 public:
  float share = 1;

  // What it returns shortens the ray; -1: as if this fixture were not there.
  float ReportFixture(b2Fixture* fixture, const b2Vec2&, const b2Vec2&, float fraction) override {
    if (fixture->GetFilterData().categoryBits != kGround) return -1;
    return share = fraction;
  }
};

}  // namespace

struct PlanarWorld::State {
  Touches touches;  // outlives the world, which knows it
  b2World world{b2Vec2(0, -10)};
  b2Body* ground = nullptr;
  std::vector<b2Body*> bodies;
  std::vector<b2RevoluteJoint*> hinges;
};

PlanarWorld::PlanarWorld() {
  fill_tables();
  state_ = std::make_unique<State>();
  state_->world.SetContactListener(&state_->touches);
  const b2BodyDef ground;
  state_->ground = state_->world.CreateBody(&ground);
}
PlanarWorld::~PlanarWorld() = default;
PlanarWorld::PlanarWorld(PlanarWorld&&) noexcept = default;
PlanarWorld& PlanarWorld::operator=(PlanarWorld&&) noexcept = default;

void PlanarWorld::add_ground(std::span<const Point> line, double friction) {
  for (size_t i = 1; i < line.size(); ++i) {
    b2EdgeShape edge;
    edge.SetTwoSided(vector(line[i - 1]), vector(line[i]));
    b2FixtureDef fixture;
    fixture.shape = &edge;
    fixture.friction = static_cast<float>(friction);
    fixture.filter.categoryBits = kGround;
    state_->ground->CreateFixture(&fixture);
  }
}

size_t PlanarWorld::add(const Body& body) {
  b2PolygonShape shape;
  if (body.corners.empty()) {
    shape.SetAsBox(static_cast<float>(body.half_size.x), static_cast<float>(body.half_size.y));
  } else {
    std::vector<b2Vec2> corners;
    for (const Point& corner : body.corners) corners.push_back(vector(corner));
    shape.Set(corners.data(), static_cast<int32>(corners.size()));
  }
  b2FixtureDef fixture;
  fixture.shape = &shape;
  fixture.density = static_cast<float>(body.density);
  fixture.friction = static_cast<float>(body.friction);
  fixture.filter.categoryBits = kBodies;
  fixture.filter.maskBits = kGround;
  b2BodyDef definition;
  definition.type = b2_dynamicBody;
  definition.position = vector(body.position);
  definition.angle = static_cast<float>(body.angle);
  definition.userData.pointer = state_->bodies.size() + 1;
  state_->bodies.push_back(state_->world.CreateBody(&definition));
  state_->bodies.back()->CreateFixture(&fixture);
  state_->touches.of_bodies.emplace_back();
  return state_->bodies.size() - 1;
}

size_t PlanarWorld::add(const Hinge& hinge) {
  b2RevoluteJointDef joint;
  joint.bodyA = state_->bodies[hinge.first];
  joint.bodyB = state_->bodies[hinge.second];
  joint.localAnchorA = vector(hinge.at_first);
  joint.localAnchorB = vector(hinge.at_second);
  joint.referenceAngle = joint.bodyB->GetAngle() - joint.bodyA->GetAngle();
  joint.enableLimit = true;
  joint.lowerAngle = static_cast<float>(hinge.low);
  joint.upperAngle = static_cast<float>(hinge.high);
  joint.enableMotor = true;
  joint.motorSpeed = static_cast<float>(hinge.speed);
  joint.maxMotorTorque = static_cast<float>(hinge.torque);
  state_->hinges.push_back(static_cast<b2RevoluteJoint*>(state_->world.CreateJoint(&joint)));
  return state_->hinges.size() - 1;
}

void PlanarWorld::push(size_t body, Point force) {
  state_->bodies[body]->ApplyForceToCenter(vector(force), true);
}

void PlanarWorld::strike(size_t body, Point impulse, Point where) {
  state_->bodies[body]->ApplyLinearImpulse(vector(impulse), vector(where), true);
}

// Wakes its bodies, also where nothing changes: Box2D 2.3 does, and 2.4 does not.
void PlanarWorld::drive(size_t hinge, double speed, double torque) {
  b2RevoluteJoint& joint = *state_->hinges[hinge];
  for (b2Body* body : {joint.GetBodyA(), joint.GetBodyB()})
    if (!body->IsAwake()) body->SetAwake(true);
  joint.SetMotorSpeed(static_cast<float>(speed));
  joint.SetMaxMotorTorque(static_cast<float>(torque));
}

bool PlanarWorld::step() {
  state_->world.Step(static_cast<float>(kStep), kVelocityIterations, kPositionIterations);
  for (const b2Body* body : state_->bodies)
    if (!is_finite(body->GetPosition()) || !is_finite(body->GetLinearVelocity()) ||
        !std::isfinite(body->GetAngle()) || !std::isfinite(body->GetAngularVelocity()))
      return false;
  return true;
}

Point PlanarWorld::position(size_t body) const {
  return point(state_->bodies[body]->GetPosition());
}
Point PlanarWorld::velocity(size_t body) const {
  return point(state_->bodies[body]->GetLinearVelocity());
}
double PlanarWorld::angle(size_t body) const { return state_->bodies[body]->GetAngle(); }
double PlanarWorld::spin(size_t body) const { return state_->bodies[body]->GetAngularVelocity(); }
bool PlanarWorld::is_awake(size_t body) const { return state_->bodies[body]->IsAwake(); }
bool PlanarWorld::is_on_ground(size_t body) const { return state_->touches.of_bodies[body].now; }
bool PlanarWorld::has_touched(size_t body) const { return state_->touches.of_bodies[body].ever; }
double PlanarWorld::hinge_angle(size_t hinge) const {
  return state_->hinges[hinge]->GetJointAngle();
}
double PlanarWorld::hinge_speed(size_t hinge) const {
  return state_->hinges[hinge]->GetJointSpeed();
}

double PlanarWorld::free_way(Point from, Point to) const {
  NearestGround nearest;
  state_->world.RayCast(&nearest, vector(from), vector(to));
  return nearest.share;
}

std::vector<Point> PlanarWorld::corners(size_t body) const {
  const b2Body& of = *state_->bodies[body];
  const auto& shape = static_cast<const b2PolygonShape&>(*of.GetFixtureList()->GetShape());
  std::vector<Point> corners;
  for (int32 i = 0; i < shape.m_count; ++i)
    corners.push_back(point(of.GetWorldPoint(shape.m_vertices[i])));
  return corners;
}

std::string planar_world_version() {
  return "Box2D " + std::to_string(b2_version.major) + "." + std::to_string(b2_version.minor) +
         "." + std::to_string(b2_version.revision);
}

}  // namespace eggroll
